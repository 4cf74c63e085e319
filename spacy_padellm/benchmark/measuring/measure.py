"""Timing of single texts and of all texts as a stream, with warm-up and repeats."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from spacy_padellm.benchmark.decoders import TREE
from spacy_padellm.benchmark.measuring.memory import peak_memory
from spacy_padellm.benchmark.measuring.shares import Shares, measure_shares
from spacy_padellm.benchmark.measuring.work import Work, count_work
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.progress import progress

WARM_UP_TEXTS = 8  # for the stream
_PROFILED_ALONE = 8
_PROFILED_STREAM = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """A decoder or peer to measure.

    name (str): Its name in the tables.
    kind (str): Which decoder or peer it is.
    run_alone (Callable[[str], float | None]): Annotates one text. If it returns
        seconds, they replace the measured time.
    stream (Callable[[Sequence[str]], object] | None): Annotates all texts as fast as it
        can; None if it only runs one text at a time.
    lm (LanguageModel | None): The model whose passes are counted.
    """

    name: str
    kind: str
    run_alone: Callable[[str], float | None]
    stream: Callable[[Sequence[str]], object] | None
    lm: LanguageModel | None = None


@dataclass(slots=True)
class Measurement:
    """The figures of an entry; None if a figure does not apply.

    name, kind (str): See `Entry`.
    latencies (list[float]): Seconds of each single text, median of the repeats.
    stream_seconds (float | None): Seconds of all texts as a stream, median of the
        repeats.
    words (int): Words of all texts.
    work (Work | None): Passes and tokens of all texts, one at a time.
    memory, stream_memory (int | None): Additional bytes at the peak, for single texts
        and for the stream.
    tokens_a_sequence (float | None): Generated tokens of a sequence in the gold
        answers.
    sequences (float | None): Sequences of a text in the gold answers.
    emitted (float | None): Share of the gold mentions that a forced decoder found.
    floor, stream_floor (float | None): The machine's floor for all texts in seconds.
    scores (dict[str, Any]): Span F1 and string F1.
    shares, stream_shares (Shares | None): Where the time goes for single texts and for
        the stream, measured on the first texts.
    """

    name: str
    kind: str
    latencies: list[float]
    stream_seconds: float | None
    words: int
    work: Work | None = None
    memory: int | None = None
    stream_memory: int | None = None
    tokens_a_sequence: float | None = None
    sequences: float | None = None
    emitted: float | None = None
    floor: float | None = None
    stream_floor: float | None = None
    scores: dict[str, Any] = field(default_factory=dict)
    shares: Shares | None = None
    stream_shares: Shares | None = None

    @property
    def latency(self) -> float:
        """Mean seconds of a single text."""
        return statistics.fmean(self.latencies)

    @property
    def texts_a_second(self) -> float | None:
        """The rate of the stream."""
        if self.stream_seconds is None:
            return None
        return len(self.latencies) / self.stream_seconds

    def to_json(self) -> dict[str, Any]:
        """All figures, including those computed from others."""
        figures = asdict(self)
        figures["work"] = asdict(self.work) if self.work else None
        figures["mean_ms"] = 1000 * self.latency
        figures["median_ms"] = 1000 * statistics.median(self.latencies)
        figures["p90_ms"] = 1000 * percentile(self.latencies, 0.9)
        figures["texts_a_second"] = self.texts_a_second
        if self.stream_seconds is not None:
            figures["words_a_second"] = self.words / self.stream_seconds
        if self.floor is not None:
            figures["times_floor"] = sum(self.latencies) / self.floor
        if self.stream_floor is not None and self.stream_seconds is not None:
            figures["stream_times_floor"] = self.stream_seconds / self.stream_floor
        return figures


def measure(
    entries: Sequence[Entry],
    texts: Sequence[str],
    *,
    words: int,
    repeats: int,
    device: torch.device,
    keep: Callable[[list[Measurement]], None] = lambda results: None,
) -> list[Measurement]:
    """Measure entries side by side.

    Each repeat runs all entries, so that a machine that becomes slower or faster does
    so for all of them. Before its first turn, an entry runs all texts without timing,
    to warm up and to count the work.

    entries (Sequence[Entry]): The decoders and peers.
    texts (Sequence[str]): The texts.
    words (int): Their number of words.
    repeats (int): The number of repeats.
    device (torch.device): The device to wait for before and after each run.
    keep (Callable[[list[Measurement]], None]): Gets the results so far after each turn
        of an entry.
    RETURNS (list[Measurement]): One for each entry.
    """
    results = [Measurement(e.name, e.kind, [], None, words) for e in entries]
    turns = list(map(_Turns, entries, results))
    streamed = sum(entry.stream is not None for entry in entries)
    passes = len(entries) * (1 + repeats) + streamed * repeats
    with progress(passes * len(texts)) as report:
        for number in range(repeats):
            for turn in turns:
                if not number:
                    turn.warm_up(texts, device, report)
                turn.run(texts, device, report)
                keep([result for result in results if result.latencies])
    return results


@dataclass(frozen=True, slots=True)
class _Turns:
    """The turns of an entry: their seconds, and the result that they give.

    entry, result: The entry and its result.
    alone (list[list[float]]): Of each turn, the seconds of each text.
    streams (list[float]): Of each turn, the seconds of the stream.
    """

    entry: Entry
    result: Measurement
    alone: list[list[float]] = field(default_factory=list)
    streams: list[float] = field(default_factory=list)

    def warm_up(
        self, texts: Sequence[str], device: torch.device, report: Callable[[int], None]
    ) -> None:
        """Run all texts, and count the work."""
        self.entry.run_alone(texts[0])
        with count_work(self.entry.lm) as work, peak_memory(device) as peak:
            for text in texts:
                self.entry.run_alone(text)
                report(1)
        self.result.work = work if self.entry.lm is not None else None
        self.result.memory = peak.size
        if self.entry.stream is not None:
            self.entry.stream(texts[:WARM_UP_TEXTS])

    def run(
        self, texts: Sequence[str], device: torch.device, report: Callable[[int], None]
    ) -> None:
        """Take the time of the texts alone and of the stream."""
        seconds = []
        for text in texts:
            seconds.append(_seconds(self.entry.run_alone, text, device))
            report(1)
        self.alone.append(seconds)
        if self.entry.stream is not None:
            with peak_memory(device) as peak:
                self.streams.append(_seconds(self.entry.stream, texts, device))
            report(len(texts))
            if len(self.streams) == 1:
                self.result.stream_memory = peak.size
            self.result.stream_seconds = statistics.median(self.streams)
        self.result.latencies = [
            statistics.median(each) for each in zip(*self.alone, strict=True)
        ]


def add_shares(
    entries: Sequence[Entry], results: Sequence[Measurement], texts: Sequence[str]
) -> None:
    """Add where the time goes, for the default decoder alone: others take long.

    entries (Sequence[Entry]): The decoders and peers, already measured.
    results (Sequence[Measurement]): Their results.
    texts (Sequence[str]): The texts.
    """
    for entry, result in zip(entries, results, strict=True):
        if entry.kind != TREE or entry.lm is None:
            continue
        alone = texts[:_PROFILED_ALONE]
        result.shares = measure_shares(entry.run_alone, alone, entry.lm)
        if entry.stream is not None:
            stream = texts[:_PROFILED_STREAM]
            result.stream_shares = measure_shares(entry.stream, [stream], entry.lm)


def _seconds(run: Callable[[Any], object], texts: Any, device: torch.device) -> float:
    wait(device)
    start = time.perf_counter()
    seconds = run(texts)
    wait(device)
    return seconds if isinstance(seconds, float) else time.perf_counter() - start


def wait(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not exceeded by at least this share of the values.

    values (Sequence[float]): At least one.
    share (float): In 0..1.
    """
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
