"""The tables: ratios first, then the figures they are computed from."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from spacy_padellm.benchmark.decoders import BATCH, STRUCT
from spacy_padellm.benchmark.measuring.measure import Measurement, percentile
from spacy_padellm.benchmark.measuring.shares import Shares

VLLM = "vllm"
SPACY_NER = "ner"


def ratios(results: Sequence[Measurement]) -> dict[str, dict[str, float]]:
    """How many times as fast as the references each entry is.

    Single texts are compared by mean latency, streams by texts per second. Streams are
    also compared with PaDeLLM-Batch and AutoReg-Struct on single texts.

    results (Sequence[Measurement]): All results of a run.
    RETURNS (dict[str, dict[str, float]]): Name -> "alone_REFERENCE" and
        "stream_REFERENCE" -> ratio.
    """
    # the first of several models is the reference
    by_kind = {result.kind: result for result in reversed(results)}
    by_name: dict[str, dict[str, float]] = {}
    for result in results:
        ratios = by_name.setdefault(result.name, {})
        for name in (BATCH, STRUCT, VLLM, SPACY_NER):
            reference = by_kind.get(name)
            if reference is None:
                continue
            ratios[f"alone_{name}"] = reference.latency / result.latency
            mine, theirs = result.texts_a_second, reference.texts_a_second
            if mine is not None and theirs is not None:
                ratios[f"stream_{name}"] = mine / theirs
            if mine is not None and name in (BATCH, STRUCT):
                ratios[f"stream_alone_{name}"] = mine * reference.latency
    return by_name


def ratio_table(results: Sequence[Measurement]) -> str:
    """The table of ratios, like the paper's Figure 3."""
    by_name = ratios(results)
    columns = list(dict.fromkeys(key for row in by_name.values() for key in row))
    heads = [_ratio_head(key) for key in columns]
    rows = [
        [name, *(_times(row.get(key)) for key in columns)]
        for name, row in by_name.items()
    ]
    return table(["faster than", *heads], rows) if columns else ""


def _ratio_head(key: str) -> str:
    kind, _, name = key.rpartition("_")
    return {
        "alone": f"{name}: alone",
        "stream": f"{name}: stream",
        "stream_alone": f"{name} alone: stream",
    }[kind]


def result_table(results: Sequence[Measurement], *, stream: str) -> str:
    """The table of figures.

    results (Sequence[Measurement]): All results of a run.
    stream (str): The function that "stream" stands for.
    """
    heads = [
        "", "ms alone", "median", "p90", f"texts/s ({stream})", "words/s", "passes",
        "tokens", "tokens/seq", "MB alone", "MB stream", "x floor", "x floor stream",
        "given", "span F1", "string F1", "as batch",
    ]  # fmt: skip
    return table(heads, [_row(result) for result in results])


def _row(result: Measurement) -> list[str]:
    texts = len(result.latencies)
    work, seconds = result.work, result.stream_seconds
    alone = sum(result.latencies)
    return [
        result.name,
        _number(1000 * result.latency),
        _number(1000 * statistics.median(result.latencies)),
        _number(1000 * percentile(result.latencies, 0.9)),
        _number(result.texts_a_second),
        _number(result.words / seconds if seconds else None),
        _number(work.passes / texts if work else None),
        _number(work.tokens / texts if work else None),
        _number(result.tokens_a_sequence),
        _number(_mega(result.memory)),
        _number(_mega(result.stream_memory)),
        _times(alone / result.floor if result.floor else None),
        _times(
            seconds / result.stream_floor if seconds and result.stream_floor else None
        ),
        _percent(result.emitted),
        _percent(result.scores.get("ents_f")),
        _percent(result.scores.get("strings_f")),
        _percent(result.scores.get("as_batch")),
    ]


def share_table(results: Sequence[Measurement]) -> str:
    """The table of where the time goes; empty if no model was measured."""
    rows = [
        [f"{result.name}, {kind}", *map(_percent, asdict(shares).values())]
        for result in results
        for kind, shares in (
            ("alone", result.shares),
            ("stream", result.stream_shares),
        )
        if shares is not None
    ]
    heads = [field.name for field in fields(Shares)]
    return table(["% of the time", *heads], rows) if rows else ""


def model_line(model: Mapping[str, Any]) -> str:
    """A line about a model: its size, the work of its texts, the machine's speed.

    model (Mapping[str, Any]): The facts from `figures.add_figures`.
    """
    speeds = model["speeds"]
    products = " with 8-bit products" if model["int8"] else ""
    return (
        f"{model['name']}: {model['parameters'] / 1e6:.1f} M parameters, "
        f"{model['dtype']}{products}; at least "
        f"{model['fewest_passes_a_text']:.2f} passes and "
        f"{model['tree_tokens_a_text']:.1f} tokens a text; weights read once in "
        f"{1000 * speeds['read_seconds']:.3g} ms ({speeds['bandwidth'] / 1e9:.3g} GB/s)"
        f", products at {speeds['product_rate'] / 1e12:.3g} Tflop/s; floor "
        f"{model['floor_ms_alone']:.3g} ms a text alone, "
        f"{model['floor_ms_stream']:.3g} ms in a stream"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with aligned columns; columns without any value are left out."""
    kept = [c for c in range(len(head)) if not c or any(row[c] != "-" for row in rows)]
    lines = [[line[c] for c in kept] for line in (head, *rows)]
    widths = [max(len(line[c]) for line in lines) for c in range(len(kept))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _mega(size: int | None) -> float | None:
    return None if size is None else size / 1e6


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def to_json(
    results: Sequence[Measurement], facts: Mapping[str, Any], *, stream: str
) -> dict[str, Any]:
    """All figures of a run.

    results (Sequence[Measurement]): All results of a run.
    stream (str): The function that "stream" stands for.
    facts (Mapping[str, Any]): The machine, the settings, the models.
    """
    return {
        "ratios": ratios(results),
        **facts,
        "stream": stream,
        "results": [result.to_json() for result in results],
    }
