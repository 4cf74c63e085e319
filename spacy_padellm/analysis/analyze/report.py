"""An analysis as JSON and as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from spacy_padellm.analysis.analyze.tally import COUNT_OUTCOMES, Analysis, Tally
from spacy_padellm.analysis.kinds import GOLD_KINDS, HEADINGS, PREDICTED_KINDS, Kind
from spacy_padellm.analysis.reliability import measure_reliability

ERROR_KINDS: tuple[Kind, ...] = (
    *(kind for kind in PREDICTED_KINDS if kind != "correct"),
    "missed",
)


def to_dict(analysis: Analysis) -> dict[str, Any]:
    """Convert an analysis to JSON values."""
    return {
        "windows": analysis.windows,
        "all": tally_to_dict(analysis.total()),
        "labels": {k: tally_to_dict(tally) for k, tally in analysis.labels.items()},
        "confusions": [
            {"gold": gold, "predicted": label, "mentions": n}
            for (gold, label), n in sorted(analysis.confusions.items())
        ],
    }


def tally_to_dict(tally: Tally) -> dict[str, Any]:
    """Convert a tally to JSON values.

    Precision, recall and F1 compare the generated mentions with the gold mentions by
    offsets and label, before de-duplication.
    """
    outcomes = tally.outcomes()
    scores = measure_reliability(tally.scored)
    return {
        **mention_scores(tally),
        "predicted": {
            "total": tally.predicted.total(),
            **{kind: tally.predicted[kind] for kind in PREDICTED_KINDS},
        },
        "gold": {
            "total": tally.golds.total(),
            **{kind: tally.golds[kind] for kind in GOLD_KINDS},
        },
        "counts": {
            "pairs": tally.counts.total(),
            **{o.replace(" ", "_"): outcomes[o] for o in COUNT_OUTCOMES},
            "matrix": [
                {"gold": gold, "predicted": found, "pairs": n}
                for (gold, found), n in sorted(tally.counts.items())
            ],
        },
        "errors_by_count": {
            outcome.replace(" ", "_"): {
                kind: tally.errors[outcome, kind] for kind in ERROR_KINDS
            }
            for outcome in COUNT_OUTCOMES
        },
        "calibration": {
            "spans": scores.count,
            "expected_calibration_error": scores.error,
            "bins": [
                {
                    "low": b.low,
                    "high": b.high,
                    "spans": b.count,
                    "score": b.score,
                    "right": b.right,
                }
                for b in scores.bins
            ],
        },
    }


def mention_scores(tally: Tally) -> dict[str, float]:
    """Compute precision, recall and F1 of the generated mentions; 0 if undefined."""
    right = tally.golds["correct"] + tally.golds["index"]
    predicted, gold = tally.predicted.total(), tally.golds.total()
    return {
        "precision": right / max(predicted, 1),
        "recall": right / max(gold, 1),
        "f1": 2 * right / max(predicted + gold, 1),
    }


TitledTable = tuple[str, Sequence[str], list[list[str]]]


def tables(analysis: Analysis) -> Iterator[TitledTable]:
    """Make the tables of an analysis.

    YIELDS (TitledTable): A title, column headings and rows.
    """
    total = analysis.total()
    tallies = list(analysis.labels.items())
    if len(tallies) != 1:
        tallies.append(("all", total))
    yield (
        "Generated mentions by kind",
        ["label", "total", *(HEADINGS[kind] for kind in PREDICTED_KINDS)],
        [
            [label, f"{tally.predicted.total()}"]
            + [f"{tally.predicted[kind]}" for kind in PREDICTED_KINDS]
            for label, tally in tallies
        ],
    )
    yield (
        "Gold mentions by kind",
        ["label", "total", *(HEADINGS[kind] for kind in GOLD_KINDS), "P", "R", "F1"],
        [
            [label, f"{tally.golds.total()}"]
            + [f"{tally.golds[kind]}" for kind in GOLD_KINDS]
            + [f"{100 * score:.1f}" for score in mention_scores(tally).values()]
            for label, tally in tallies
        ],
    )
    yield (
        "Counts of texts and labels",
        ["label", "pairs", "right", "too low", "too high", "right if any in gold"],
        [_count_row(label, tally) for label, tally in tallies],
    )
    yield (
        "Errors by count",
        ["count", *(HEADINGS[kind] for kind in ERROR_KINDS)],
        [
            [outcome, *(f"{total.errors[outcome, kind]}" for kind in ERROR_KINDS)]
            for outcome in COUNT_OUTCOMES
        ],
    )
    yield (
        "Calibration of final spans",
        ["label", "spans", "right", "mean score", "calibration error"],
        [_calibration_row(label, tally) for label, tally in tallies],
    )


def _count_row(label: str, tally: Tally) -> list[str]:
    pairs = tally.counts.total()
    outcomes = tally.outcomes()
    there = sum(n for (gold, _), n in tally.counts.items() if gold)
    right = sum(n for (gold, found), n in tally.counts.items() if 0 < gold == found)
    return [
        label,
        f"{pairs}",
        *(_share(outcomes[outcome], pairs) for outcome in COUNT_OUTCOMES),
        _share(right, there),
    ]


def _calibration_row(label: str, tally: Tally) -> list[str]:
    calibration = measure_reliability(tally.scored)
    if calibration.error is None:
        return [label, "0", "-", "-", "-"]
    right = sum(right for _, right in tally.scored) / calibration.count
    score = sum(score for score, _ in tally.scored) / calibration.count
    return [
        label,
        f"{calibration.count}",
        f"{right:.3f}",
        f"{score:.3f}",
        f"{calibration.error:.3f}",
    ]


def _share(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole:.1f} %)" if whole else "0"
