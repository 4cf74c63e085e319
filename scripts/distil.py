"""Train a small model on what a large one thinks of texts (scripts/soft_labels.py).

    python scripts/distil.py configs/distil.cfg training/labels training/distilled \
        --model training/small-base --steps 4000 --rate 0.0015

The config gives labels, prompt and optimizer. The model learns the probabilities of the
tags and of the counts, not which is the likeliest, and to write the mentions that the
large model's tags show. Given again after a stop, the command continues; with other
options, labels or another model it does not.
"""

from __future__ import annotations

import argparse
import io
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from soft_labels import COUNTS, Planted, Task
from spacy.language import Language
from spacy.util import load_config, load_model_from_config, registry
from tqdm import tqdm

from spacy_padellm.annotate.pipeline import fingerprint
from spacy_padellm.benchmark.subjects.pipelines import pipe_of
from spacy_padellm.decoding.tree.tags import TaggedMention, read_text_tags
from spacy_padellm.pipeline.pipe import PaDeLLMNER
from spacy_padellm.training.master_weights import MasterWeights
from spacy_padellm.training.optimizers import apply_step, make_optimizers
from spacy_padellm.training.run_identity import differences, run_of
from spacy_padellm.training.settings import TrainingSettings
from spacy_padellm.training.tags import with_tags_of
from spacy_padellm.training.update import Updates, get_state, set_state
from spacy_padellm.tree.token_tree import pad_trees
from spacy_padellm.writable import write_whole

TEXTS = 32  # of a step
PROMPTS = 20  # tokens of the count prompts, about
WARMUP = 0.075  # share of the steps
SAVED = 250  # steps between checkpoints
CAPITALS = 0.05  # share of the texts that are read in capitals


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text with the large model's probabilities.

    starts (int32): (tokens,), the first character of each of the large model's tokens.
    tags (float16): (tokens, tags).
    counts (float16): (labels, counts).
    """

    text: str
    starts: np.ndarray
    tags: torch.Tensor
    counts: torch.Tensor

    def tags_of(self, offsets: Sequence[tuple[int, int]]) -> torch.Tensor:
        """The tags of the small model's tokens: (tokens, tags)."""
        starts = np.asarray([start for start, _ in offsets])
        places = np.maximum(np.searchsorted(self.starts, starts, side="right") - 1, 0)
        tags = self.tags[torch.from_numpy(places)].float()
        # a later part of a large token is inside a mention that begins with the token
        later = torch.from_numpy(self.starts[places] < starts)
        names = (tags.shape[1] - 1) // 2
        begins = tags[:, 1 : 1 + names] * later[:, None]
        tags[:, 1 : 1 + names] -= begins
        tags[:, 1 + names :] += begins
        return tags

    def in_capitals(self) -> Labelled:
        """The same text in capitals, with what the large model thinks of it as it is.

        A text whose capitals are longer, as those of "ß", stays as it is.
        """
        capitals = self.text.upper()
        if len(capitals) != len(self.text):
            return self
        return replace(self, text=capitals)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument(
        "--rate", type=float, required=True, help="highest learning rate"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    overrides = {
        "paths.model": options.model,
        "training.optimizer.learn_rate.total_steps": options.steps,
        "training.optimizer.learn_rate.initial_rate": options.rate,
        "training.optimizer.learn_rate.warmup_steps": int(WARMUP * options.steps),
    }
    config = load_config(options.config, overrides=overrides, interpolate=False)
    nlp = load_model_from_config(config, auto_fill=True)
    pipe = pipe_of(nlp)
    names, texts = read_labels(options.labels)
    training = nlp.config.interpolate()["training"]
    optimizer = registry.resolve({"optimizer": training["optimizer"]})["optimizer"]
    checkpoint = options.output / "checkpoint.pt"
    identity = identity_of(nlp, options.labels, seed=options.seed)
    run = Run.of(
        pipe, names, optimizer=optimizer, checkpoint=checkpoint, identity=identity
    )
    train(run, texts, steps=options.steps, seed=options.seed)
    nlp.to_disk(options.output)
    checkpoint.unlink(missing_ok=True)


def identity_of(nlp: Language, labels: Path, *, seed: int) -> dict[str, Any]:
    """What a run must share with the one that it continues.

    nlp (Language): The pipeline that is trained, with the steps and the rate in its
        config.
    labels (Path): The folder of the labels.
    seed (int): The seed.
    """
    files = sorted(labels.glob("*.safetensors"))
    contents = [[path.name, fingerprint(path)] for path in files]
    return {"run": run_of(nlp), "labels": contents, "seed": seed}


def changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """The names of what differs between two runs."""
    names = [name for name in ("labels", "seed") if first[name] != second[name]]
    return [*names, *differences(first["run"], second["run"])]


def read_labels(folder: Path) -> tuple[list[str], list[Labelled]]:
    """The names of the labels, and all texts."""
    names: list[str] = []
    texts: list[Labelled] = []
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            names = json.loads(file.metadata()["names"])
            lines = bytes(file.get_tensor("text").tolist()).decode().split("\n")
            starts = file.get_tensor("offsets")[:, 0].numpy()
            ends = np.cumsum(file.get_tensor("sizes").numpy())
            tags = file.get_tensor("tags")
            counts = file.get_tensor("counts")
        for line, begin, end, count in zip(
            lines, [0, *ends[:-1]], ends, counts, strict=True
        ):
            texts.append(Labelled(line, starts[begin:end], tags[begin:end], count))
    return names, texts


def train(run: Run, texts: Sequence[Labelled], *, steps: int, seed: int) -> None:
    """Train a model in steps of some texts each."""
    rng = random.Random(seed)
    order = some_in_capitals(shuffled(texts, rng), rng)
    done = run.resume()
    for _ in range(done):
        next_texts(order)
        run.optimizer.step_schedules()
    loss = 0.0
    for step in (progress := tqdm(range(done, steps), initial=done, total=steps)):
        loss += run.step(next_texts(order))
        if (step + 1) % SAVED == 0:
            progress.write(f"{step + 1} steps, loss {loss / SAVED:.4f}")
            run.save(step + 1)
            loss = 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """A training of a pipeline's model.

    optimizer (thinc.api.Optimizer): Its settings.
    checkpoint (Path): The file to continue from.
    identity (Mapping[str, Any]): What it must share with this run.
    """

    task: Task
    settings: TrainingSettings
    updates: Updates
    optimizer: Any
    checkpoint: Path
    identity: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, pipe: PaDeLLMNER, names: Sequence[str], **options: Any) -> Run:
        """Prepare the model of a component."""
        assert pipe.prompt is not None
        lm = pipe.handle.trainable(pipe.prompt.special_tokens)
        lm.set_training(True)
        prompt = lm.tokens_of(pipe.prompt)
        # in the order of the component's labels, as `spacy train` will name them
        labels = list(pipe.label_data.values())
        lm.tags = with_tags_of(lm.tags, prompt, [], labels)
        masters = MasterWeights(lm.model)
        optimizers = make_optimizers(lm.model, masters.named(), muon=pipe.training.muon)
        updates = Updates(masters=masters, optimizers=optimizers)
        # few bits are for the training on gold data
        settings = replace(pipe.training, quantized=False)
        return cls(Task.of(lm, prompt, names), settings, updates, **options)

    def step(self, texts: Sequence[Labelled]) -> float:
        """Make a step, and return its mean loss."""
        assert self.updates.masters is not None
        total, size = 0.0, 0
        for part in passes(texts, self.settings.max_batch_tokens):
            loss, terms = soft_loss(self.task, part)
            loss.backward()
            self.updates.masters.collect()
            total += float(loss.detach())
            size += terms
        apply_step(self.updates.optimizers, self.optimizer, scale=1 / size)
        self.updates.masters.publish()
        self.optimizer.step_schedules()
        return total / size

    def save(self, step: int) -> None:
        """Write a checkpoint."""
        state = {
            "step": step,
            "identity": self.identity,
            **get_state(self.updates, self.task.lm),
        }
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        torch.save(state, content)
        write_whole(self.checkpoint, content.getvalue())

    def resume(self) -> int:
        """Continue from the checkpoint: the number of steps that were made.

        It ends the command if the checkpoint is of another run.
        """
        if not self.checkpoint.exists():
            return 0
        state = torch.load(self.checkpoint, weights_only=True)
        if (before := state.get("identity")) != self.identity:
            found = changes(before, self.identity) if before else ["all, perhaps"]
            raise SystemExit(
                f"{self.checkpoint} is of a training with other settings or files "
                f"({', '.join(found)}). To start anew, delete {self.checkpoint.name}; "
                "to continue, give what was given before."
            )
        set_state(self.updates, state, self.task.lm, settings=self.settings)
        return int(state["step"])


def next_texts(order: Iterator[Labelled]) -> list[Labelled]:
    """The texts of a step."""
    return [next(order) for _ in range(TEXTS)]


def shuffled(texts: Sequence[Labelled], rng: random.Random) -> Iterator[Labelled]:
    """All texts in random order, again and again."""
    while True:
        yield from rng.sample(texts, len(texts))


def some_in_capitals(
    texts: Iterable[Labelled], rng: random.Random
) -> Iterator[Labelled]:
    """The texts, some of them in capitals, as headlines and shouting are."""
    for text in texts:
        yield text.in_capitals() if rng.random() < CAPITALS else text


def passes(texts: Sequence[Labelled], most: int) -> Iterator[list[Labelled]]:
    """Parts of a step, texts of similar length together."""
    part: list[Labelled] = []
    for text in sorted(texts, key=lambda text: len(text.starts)):
        if part and (len(text.starts) + PROMPTS) * (len(part) + 1) > most:
            yield part
            part = []
        part.append(text)
    yield part


def soft_loss(task: Task, texts: Sequence[Labelled]) -> tuple[torch.Tensor, int]:
    """The summed cross-entropy of texts, and the number of its terms."""
    strings = [text.text for text in texts]
    planted: list[Planted] = task.plant(strings)
    offsets = task.prompt.strings.offsets(strings)
    all_tags = [text.tags_of(o) for text, o in zip(texts, offsets, strict=True)]
    tags = torch.cat(all_tags)
    counts = torch.cat([text.counts.float() for text in texts])
    written = [
        plant_mentions(task, *of_text)
        for of_text in zip(strings, planted, all_tags, strict=True)
    ]
    batch = pad_trees([text.tree for text in planted])
    width = batch.ids.shape[1]
    ends = [
        row * width + slot for row, text in enumerate(planted) for slot in text.ends
    ]
    logits, tag_logits = task.lm.logits(
        batch,
        [*ends, *(row * width + s for row, of in enumerate(written) for s, _ in of)],
        tag_positions=[
            row * width + slot for row, text in enumerate(planted) for slot in text.text
        ],
        tag_ids=task.tag_ids,
    )
    chances = logits.float().log_softmax(-1)
    tag_loss = -(tags * tag_logits.float().log_softmax(-1)).sum()
    count_loss = -(counts * chances[: len(ends), list(task.count_ids)]).sum()
    tokens = torch.tensor([token for of in written for _, token in of]).long()
    mention_loss = -chances[len(ends) :].gather(1, tokens[:, None]).sum()
    terms = len(tags) + len(counts) + len(tokens)
    return tag_loss + count_loss + mention_loss, terms


def plant_mentions(
    task: Task, text: str, planted: Planted, tags: torch.Tensor
) -> list[tuple[int, int]]:
    """Add the ends of counts, and the mentions that a text's tags show, to its tree.

    RETURNS (list[tuple[int, int]]): The tokens to write, and the slot before each.
    """
    written: list[tuple[int, int]] = []

    def write(slot: int, ids: Sequence[int]) -> int:
        for token in ids:
            written.append((slot, token))
            if token != task.prompt.eos:
                slot = planted.tree.extend(slot, [token])
        return slot

    mentions = read_mentions(task, planted, tags)
    for name, end in zip(task.names, planted.ends, strict=True):
        count = len(mentions[name])
        if count >= COUNTS:
            continue
        if not count:
            digit, *rest = task.prompt.count_answer(0)
            if rest:
                write(planted.tree.extend(end, [digit]), rest)
            continue
        prompts = task.prompt.mention_prompts(text, name, count=count, number=count)
        assert prompts.keep is None
        # the probabilities of the first digit are learnt from the large model's
        digit, *rest = prompts.stem[: prompts.counted]
        stem = write(planted.tree.extend(end, [digit]), rest)
        if shared := prompts.stem[prompts.counted :]:
            stem = planted.tree.extend(stem, shared)
        for mention, prompt in zip(mentions[name], prompts.mentions, strict=True):
            answer = [*task.prompt.mention_draft(mention.ids), task.prompt.eos]
            write(planted.tree.extend(stem, prompt), answer)
    return written


def read_mentions(
    task: Task, planted: Planted, tags: torch.Tensor
) -> dict[str, list[TaggedMention]]:
    """The mentions of each name that the tags of a text's tokens show."""
    none, begins, inside = tags.split([1, len(task.names), len(task.names)], dim=1)
    ordered = torch.cat([none, inside, begins], dim=1).clamp(min=1e-6)
    return read_text_tags(
        planted.ids,
        task.prompt.strings.characters(planted.ids),
        ordered.log().double().numpy(),
        list(task.names),
        begins=range(1, 1 + len(task.names)),
    ).mentions


if __name__ == "__main__":
    main()
