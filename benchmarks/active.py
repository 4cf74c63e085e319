"""Active learning, simulated: texts chosen by `padellm suggest` against random ones.

    python -m benchmarks.active corpus/conll03_train.spacy corpus/conll03_dev.spacy \
        --model MODEL --sizes 200,500,1000 --seeds 3 --steps 200 --json OUT.json

MODEL is a language model that was not trained on the corpus. It is fine-tuned as the
method `muon` of benchmarks.compare. The first texts are random, half of the smallest
size. Then, for each size, the model that was trained last chooses the texts to add, and
MODEL is trained anew on all of them. The gold annotation of texts that are not chosen
is not used.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import spacy
from spacy.cli.train import train
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from wasabi import msg

from spacy_padellm.benchmark.subjects.pipelines import read_corpus
from spacy_padellm.pipeline.scorer import ner_score
from spacy_padellm.suggest.run import suggest
from spacy_padellm.suggest.texts import SourceText

CONFIG = Path(__file__).parent.parent / "configs" / "compare.cfg"
COMPONENT = "components.padellm_ner"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("dev", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--sizes", default="200,500,1000")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--limit", type=int, help="Texts of the corpora")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sizes = [int(size) for size in args.sizes.split(",")]
    vocab = spacy.blank("en").vocab
    corpora = (read_corpus(path, vocab) for path in (args.train, args.dev))
    pool, dev = (docs[: args.limit] for docs in corpora)
    figures: list[dict[str, Any]] = []
    for seed in range(args.seeds):
        for choice in ("suggest", "random"):
            rng = random.Random(seed)
            order = rng.sample(range(len(pool)), len(pool))
            selection = order[: sizes[0] // 2]
            if choice == "suggest":
                nlp = trained(args, [pool[i] for i in selection], seed)
            for size in sizes:
                left = [i for i in order if i not in set(selection)]
                missing = size - len(selection)
                if choice == "suggest":
                    left = best_first(nlp, pool, left, missing)
                selection = selection + left[:missing]
                nlp = trained(args, [pool[i] for i in selection], seed)
                row: dict[str, Any] = {"choice": choice, "seed": seed}
                row["texts"] = len(selection)
                row["words"] = sum(len(pool[i]) for i in selection)
                figures.append({**row, "ents_f": score(nlp, dev)})
                msg.info(str(figures[-1]))
                if args.json:
                    args.json.write_text(json.dumps(figures, indent=2) + "\n", "utf8")


def best_first(
    nlp: Language, pool: Sequence[Doc], left: list[int], n: int
) -> list[int]:
    """The indexes of the texts that a pipeline suggests."""
    texts = [SourceText(pool[i].text, {"index": i}) for i in left]
    return [s.meta["index"] for s in suggest(nlp, texts, n=n).chosen]


def trained(args: argparse.Namespace, docs: Sequence[Doc], seed: int) -> Language:
    """Train the model on Docs."""
    with tempfile.TemporaryDirectory() as folder:
        gold = Path(folder) / "train.spacy"
        DocBin(docs=docs, store_user_data=True).to_disk(gold)
        # spaCy needs a dev set for its table of scores
        few = Path(folder) / "dev.spacy"
        DocBin(docs=docs[:10], store_user_data=True).to_disk(few)
        overrides = {
            "paths.model": str(args.model),
            "paths.train": str(gold),
            "paths.dev": str(few),
            "system.seed": seed,
            "training.max_steps": args.steps,
            "training.eval_frequency": args.steps,
            "training.optimizer.learn_rate.warmup_steps": args.steps // 10,
            "training.optimizer.learn_rate.total_steps": args.steps,
            f"{COMPONENT}.prompt.prefix_lm": True,
            f"{COMPONENT}.training.tag_loss": 1.0,
            f"{COMPONENT}.training.muon": True,
        }
        train(CONFIG, folder, overrides=overrides)
        nlp = spacy.load(Path(folder) / "model-last")
        nlp("The first text loads the weights before the folder is gone .")
        return nlp


def score(nlp: Language, dev: Sequence[Doc]) -> float:
    """Span F1 on gold Docs."""
    pairs = zip(nlp.pipe((doc.text for doc in dev), batch_size=256), dev, strict=True)
    examples = [Example(predicted, gold) for predicted, gold in pairs]
    return float(ner_score(examples, spans_key="padellm")["ents_f"])


if __name__ == "__main__":
    main()
