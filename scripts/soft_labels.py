"""What a trained model thinks of texts: the probabilities of tags and counts.

    python scripts/soft_labels.py bundled-en training/soft-labels \
        --texts corpus/gold.spacy assets/en/web --limit 20000 --total 30000 \
        --names corpus/names.json

MODEL is a pipeline's folder, or the name of a bundled model. A small model learns from
them (scripts/distil.py): that a model is in doubt between two labels says more than a
label (Hinton et al., 2015). Given again after a stop, the command continues; with
another model or other texts it starts anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pretrain import read
from safetensors.torch import save
from tqdm import tqdm

from spacy_padellm.annotate.pipeline import find_pipeline, fingerprint
from spacy_padellm.benchmark.subjects.pipelines import load_placed_pipeline, pipe_of
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.prompt.branches import CountPrompts
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.text.normalize import normalize_text
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import pack
from spacy_padellm.tree.token_tree import ROOT, TokenTree
from spacy_padellm.writable import write_whole

COUNTS = 10  # 0 to 9
CHUNK = 2000  # texts of a file
BATCH = 12_000  # characters of a pass
LONGEST = 400  # characters of a text
NAMES = 2000  # of a label, as texts of their own
RUN = "run.json"  # what the labels were made of
FILE = re.compile(r"\d{3,}\.safetensors")


@dataclass(frozen=True, slots=True)
class Task:
    """A model with its prompt, to tag texts and to count mentions.

    names (Sequence[str]): The labels' names in the prompt.
    tag_ids (Sequence[int]): No mention, then the begin tag of each name, then the tag
        inside a mention of each name.
    count_ids (Sequence[int]): The tokens that begin the counts 0 to 9.
    """

    lm: LanguageModel
    prompt: PromptTokens
    names: Sequence[str]
    tag_ids: Sequence[int]
    count_ids: Sequence[int]

    @classmethod
    def of(cls, lm: LanguageModel, prompt: PromptTokens, names: Sequence[str]) -> Task:
        """Find the tokens of tags and counts."""
        begins = [lm.tags.begins[name] for name in names]
        inside = [lm.tags.inside[name] for name in names]
        if prompt.count_start:
            raise SystemExit("The tokens that begin a count must differ by the count.")
        counts = [prompt.count_answer(count)[0] for count in range(COUNTS)]
        return cls(lm, prompt, names, [prompt.eos, *begins, *inside], counts)

    def plant(self, texts: Sequence[str]) -> list[Planted]:
        """The trees of texts."""
        return [
            Planted.of(prompts)
            for prompts in self.prompt.count_prompts(texts, list(self.names))
        ]


@dataclass(frozen=True, slots=True)
class Planted:
    """The tree of a text.

    text (range): The slots of the text's tokens.
    ids (Sequence[int]): The text's tokens.
    ends (list[int]): The last slot of each label's count prompt.
    """

    tree: TokenTree
    text: range
    ids: Sequence[int]
    ends: list[int]

    @classmethod
    def of(cls, prompts: CountPrompts) -> Planted:
        """Make the tree of a text's count prompts."""
        tree = TokenTree(bidirectional_span=prompts.bidirectional_span)
        root = tree.extend(ROOT, prompts.root)
        ends = [tree.extend(root, ids) for ids in prompts.labels]
        text = range(*prompts.text)
        return cls(tree, text, prompts.root[text.start : text.stop], ends)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("output", type=Path)
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    parser.add_argument("--names", type=Path, help="by label, from scripts/names.py")
    parser.add_argument("--limit", type=int, required=True, help="texts of an input")
    parser.add_argument("--total", type=int, required=True, help="texts in all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    texts = choose_texts(options.texts, options.limit, rng)[: options.total]
    if options.names:
        texts += choose_names(options.names, rng)
    begin(options.output, run_of(options.model, texts))
    task = load_task(options.model)
    for number, start in enumerate(tqdm(range(0, len(texts), CHUNK))):
        path = options.output / f"{number:03}.safetensors"
        if not path.exists():
            write_labels(path, task, texts[start : start + CHUNK])


def run_of(model: str, texts: Sequence[str]) -> dict[str, Any]:
    """What decides the labels: the model's files, and the texts with their files."""
    content = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
    return {
        "model": fingerprint(find_pipeline(model)[1]),
        "texts": content,
        "texts of a file": CHUNK,
    }


def begin(folder: Path, run: dict[str, Any]) -> None:
    """Begin or continue a run; labels of another one are deleted.

    folder (Path): The folder of the labels.
    run (dict[str, Any]): What decides them.
    """
    note = folder / RUN
    try:
        before = json.loads(note.read_text("utf8"))
    except (FileNotFoundError, ValueError):
        before = None
    if before == run:
        return
    old = [path for path in folder.glob("*") if FILE.fullmatch(path.name)]
    if old:
        print(f"{folder}: starts anew, the labels are of another model or other texts")
    for path in old:
        path.unlink()
    write_whole(note, f"{json.dumps(run, indent=2)}\n".encode())


def choose_texts(paths: Sequence[Path], limit: int, rng: random.Random) -> list[str]:
    """Choose texts of each input, as the model reads them, in random order."""
    chosen: set[str] = set()
    for path in paths:
        texts = {normalize_text(text) for text in read(path, rng)}
        fitting = sorted(text for text in texts if 0 < len(text) <= LONGEST)
        picked = rng.sample(fitting, min(limit, len(fitting)))
        print(f"{path}: {len(picked)} of {len(fitting)} texts")
        chosen.update(picked)
    mixed = sorted(chosen)
    rng.shuffle(mixed)
    return mixed


def choose_names(path: Path, rng: random.Random) -> list[str]:
    """Choose some names of each label, which are texts of their own, as in a table."""
    names: dict[str, list[str]] = json.loads(path.read_text("utf8"))
    texts = {
        normalize_text(name)
        for of_label in names.values()
        for name in rng.sample(of_label, min(NAMES, len(of_label)))
    }
    chosen = sorted(text for text in texts if 0 < len(text) <= LONGEST)
    rng.shuffle(chosen)
    return chosen


def load_task(name: str) -> Task:
    """The task of a pipeline, or of a bundled model."""
    # 8-bit products are faster, and the labels are almost the same
    pipe = pipe_of(load_placed_pipeline(name, lang="en", device=None, dtype="int8"))
    lm, prompt = pipe.handle.lm(), pipe.prompt
    assert prompt is not None
    return Task.of(lm, lm.tokens_of(prompt), list(pipe.label_data.values()))


@torch.inference_mode()
def write_labels(path: Path, task: Task, texts: Sequence[str]) -> None:
    """Write a file of texts with the model's probabilities."""
    ordered = sorted(texts, key=len)
    sizes: list[int] = []
    offsets: list[tuple[int, int]] = []
    tags, counts = [], []
    for batch in batches(ordered):
        planted = task.plant(batch)
        batch_tags, batch_counts = probabilities(task, planted)
        sizes += [len(text.text) for text in planted]
        tags.append(batch_tags)
        counts.append(batch_counts)
        for places in task.prompt.strings.offsets(batch):
            offsets += places
    written = bytearray("\n".join(ordered).encode())
    tensors = {
        "text": torch.frombuffer(written, dtype=torch.uint8),
        "sizes": torch.tensor(sizes, dtype=torch.int32),
        "offsets": torch.tensor(offsets, dtype=torch.int32),
        "tags": torch.cat(tags),
        "counts": torch.cat(counts).view(len(sizes), len(task.names), COUNTS),
    }
    names = json.dumps(list(task.names))
    write_whole(path, save(tensors, metadata={"names": names}))


def probabilities(
    task: Task, planted: Sequence[Planted]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Those of the tags (tokens, tags) and counts (texts * names, counts), float16."""
    packed = pack([text.tree for text in planted], 0)
    placed = list(zip(packed.starts, planted, strict=True))
    counts, tags = task.lm.packed_logits(
        packed,
        [start + end for start, text in placed for end in text.ends],
        TreeKVCache(),
        tag_positions=[start + slot for start, text in placed for slot in text.text],
        tag_ids=task.tag_ids,
    )
    chances = counts.float().softmax(-1)[:, list(task.count_ids)]
    return tags.float().softmax(-1).half(), chances.half()


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Batches of texts, those of similar length together."""
    batch: list[str] = []
    for text in texts:
        if batch and len(text) * (len(batch) + 1) > BATCH:
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch


if __name__ == "__main__":
    main()
