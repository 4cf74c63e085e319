"""How often promises of recall and precision are kept, on random halves of corpora.

    python -m benchmarks.promises NAME=CORPUS.spacy [...] --model bundled-en-sm \
        --rename person=PER,location=LOC --json OUT.json

Each corpus is decoded once. Then its Docs are split at random many times: calibration
and thresholds are learnt on one half, as `padellm tune` does, and measured on the other
half. Shown are, for recall and for precision, the highest rates that could be promised
in at least half of the splits: how often the other half broke the promise (`broken`,
of all splits), and how often all Docs together did (`broken_by_all`).
"""

from __future__ import annotations

import random
from collections import defaultdict
from statistics import mean
from typing import Any

from benchmarks.gold_corpora import corpora_parser, read_corpora, show_figures
from spacy_padellm.analysis.inputs import load_for_analysis
from spacy_padellm.analysis.tune.candidates import find_candidates
from spacy_padellm.analysis.tune.mention_table import MentionTable
from spacy_padellm.analysis.tune.promise import CONFIDENCE, ThresholdPath
from spacy_padellm.analysis.tune.scaling import learn_calibration
from spacy_padellm.analysis.tune.thresholds import CandidateCorpus
from spacy_padellm.mention.calibration import Measure

MEASURES: tuple[Measure, ...] = ("recall", "precision")
RATES = [step / 100 for step in range(5, 100, 5)]
SHOWN = 2  # rates of each measure


def main() -> None:
    parser = corpora_parser(__doc__)
    parser.add_argument("--splits", type=int, default=200)
    args = parser.parse_args()
    nlp, pipe = load_for_analysis(args.model)
    figures = [
        {"corpus": name, "docs": len(gold.docs), **row}
        for name, gold in read_corpora(args, nlp, pipe)
        for row in try_corpus(find_candidates(nlp, pipe, gold), splits=args.splits)
    ]
    show_figures(figures, args.json)


def try_corpus(corpus: CandidateCorpus, *, splits: int) -> list[dict[str, Any]]:
    """Test promises on random halves of a corpus.

    corpus (CandidateCorpus): The corpus, with scores that are not calibrated.
    splits (int): How often it is split.
    RETURNS (list[dict[str, Any]]): A row of figures for each promised rate.
    """
    labels = sorted({m.label for text in corpus.texts for m in text.gold})
    found: dict[tuple[Measure, float], list[dict[str, float]]] = defaultdict(list)
    for seed in range(splits):
        order = random.Random(seed).sample(corpus.texts, len(corpus.texts))
        half = len(order) // 2
        learnt = CandidateCorpus(order[:half], corpus.nested)
        calibration = learn_calibration([list(learnt.judged({}))])
        tables = {
            part: MentionTable.of(
                CandidateCorpus(texts, corpus.nested).rescored(calibration), labels
            )
            for part, texts in (
                ("learnt", order[:half]),
                ("new", order[half:]),
                ("all", order),
            )
        }
        for measure in MEASURES:
            path = ThresholdPath.of([tables["learnt"]], measure, level=1 - CONFIDENCE)
            for rate in RATES:
                threshold = path.threshold(rate)
                if threshold is None:
                    break
                new = tables["new"].rates(threshold)
                whole = tables["all"].rates(threshold)
                found[measure, rate].append(
                    {
                        "threshold": threshold,
                        "recall": new.recall,
                        "precision": new.precision,
                        "broken": getattr(new, measure) < rate,
                        "broken_by_all": getattr(whole, measure) < rate,
                    }
                )
    return [
        {"promise": measure, "rate": rate, **_summary(found[measure, rate], splits)}
        for measure in MEASURES
        for rate in [r for r in RATES if len(found[measure, r]) >= splits / 2][-SHOWN:]
    ]


def _summary(tried: list[dict[str, float]], splits: int) -> dict[str, float]:
    """The means of a promise over the splits in which it could be made."""
    means = {key: mean(row[key] for row in tried) for key in tried[0]}
    # where nothing is promised, nothing is broken
    for key in ("broken", "broken_by_all"):
        means[key] = sum(row[key] for row in tried) / splits
    return {"made": len(tried) / splits, **means}


if __name__ == "__main__":
    main()
