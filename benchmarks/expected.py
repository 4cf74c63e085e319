"""Does `doc._.padellm_expected` find the texts with missed mentions?

    python -m benchmarks.expected NAME=CORPUS.spacy [...] --model bundled-en-sm \
        --rename person=PER,location=LOC --json OUT.json

Sorts the texts of each corpus by the probability that a mention was missed, by their
lowest score, and at random. AUROC is the probability that a text with a missed gold
mention comes before one without. `of_first_tenth` is the share of the texts with missed
mentions among the first tenth of all texts, divided by that of a perfect order.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc

from benchmarks.gold_corpora import corpora_parser, read_corpora, show_figures
from spacy_padellm.analysis.inputs import GoldCorpus, GoldDoc, load_for_analysis
from spacy_padellm.analysis.kinds import GoldMention
from spacy_padellm.text.stream import STREAM_FROM


def main() -> None:
    args = corpora_parser(__doc__).parse_args()
    nlp, pipe = load_for_analysis(args.model)
    key = pipe.cfg["spans_key"]
    figures = [
        {"corpus": name, **row}
        for name, gold in read_corpora(args, nlp, pipe)
        for row in compare_orders(nlp, gold, key)
    ]
    show_figures(figures, args.json)


def compare_orders(nlp: Language, gold: GoldCorpus, key: str) -> list[dict[str, Any]]:
    """Sort the texts of a corpus in each way; a row of figures for each."""
    labels = {m.label for doc in gold.docs for m in doc.mentions}
    docs = nlp.pipe((doc.text for doc in gold.docs), batch_size=STREAM_FROM)
    pairs = list(zip(gold.docs, docs, strict=True))
    missed = np.array([misses(g, doc, key) for g, doc in pairs])
    orders: dict[str, list[float]] = {
        "expected": [expected(doc, labels) for _, doc in pairs],
        "lowest score": [1 - lowest(doc, key, labels) for _, doc in pairs],
        "random": random.Random(0).choices(range(1000), k=len(pairs)),
    }
    return [
        {
            "texts": len(pairs),
            "with_misses": float(missed.mean()),
            "predicted": float(np.mean(values)) if order == "expected" else "",
            "order": order,
            "auroc": auroc(values, missed),
            "of_first_tenth": first_tenth(values, missed),
        }
        for order, values in orders.items()
    ]


def misses(gold: GoldDoc, doc: Doc, key: str) -> bool:
    """Whether a gold mention was not found."""
    found = {GoldMention(*place) for place in doc.spans[key].attrs["places"]}
    return not set(gold.mentions) <= found


def expected(doc: Doc, labels: set[str]) -> float:
    """The probability that a mention of the labels was missed."""
    values = doc._.padellm_expected.items()
    missed = [float(value.missed) for label, value in values if label in labels]
    return 1.0 - math.prod(1 - chance for chance in missed)


def lowest(doc: Doc, key: str, labels: set[str]) -> float:
    """The lowest score of a Doc's mentions; 1 if it has none."""
    scores = [s._.padellm_score for s in doc.spans[key] if s.label_ in labels]
    return min(scores, default=1.0)


def auroc(values: Sequence[float], positive: np.ndarray) -> float:
    """The area under the ROC curve; ties count half."""
    array = np.array(values, dtype=float)
    higher = np.searchsorted(np.sort(array[~positive]), array[positive], "left")
    same = np.searchsorted(np.sort(array[~positive]), array[positive], "right")
    return float((higher + same).mean() / 2 / (~positive).sum())


def first_tenth(values: Sequence[float], positive: np.ndarray) -> float:
    """The share of texts with misses in the first tenth of an order."""
    size = len(values) // 10
    first = np.argsort(-np.array(values, dtype=float), kind="stable")[:size]
    return float(positive[first].sum() / min(size, positive.sum()))


if __name__ == "__main__":
    main()
