"""Timing: one text at a time, then all texts as a stream, with warm-up and repeats."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from spacy_padellm.benchmark.memory import peak_memory
from spacy_padellm.benchmark.work import Work, count_work
from spacy_padellm.lm.language_model import LanguageModel

WARM_UP_TEXTS = 8  # of the stream


@dataclass(frozen=True, slots=True)
class Entry:
    """Something to measure.

    name (str): As the tables call it.
    kind (str): Which decoder or peer it is.
    read_alone (Callable[[str], float | None]): Reads one text; gives the seconds if
        they are not those that it takes.
    stream (Callable[[Sequence[str]], object] | None): Reads all texts as fast as it
        can; None if it only reads one at a time.
    lm (LanguageModel | None): The model whose passes are counted.
    """

    name: str
    kind: str
    read_alone: Callable[[str], float | None]
    stream: Callable[[Sequence[str]], object] | None
    lm: LanguageModel | None = None


@dataclass(slots=True)
class Measurement:
    """What was measured; None where it does not apply.

    name, kind (str): As those of the entry.
    latencies (list[float]): Seconds of each text alone, the median of the repeats.
    stream_seconds (float | None): Of all texts together, the median of the repeats.
    words (int): Of all texts.
    work (Work | None): Passes and tokens of all texts, one at a time.
    memory, stream_memory (int | None): Bytes at the peak beyond those before, one
        text at a time and as a stream.
    tokens_a_sequence (float | None): Generated tokens, of the gold answers.
    sequences (float | None): Sequences a text, of the gold answers.
    emitted (float | None): Share of the gold mentions that a forced decoder gave.
    floor, stream_floor (float | None): Seconds of the machine's floor for all texts.
    scores (dict[str, Any]): Span F1 and string F1.
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

    @property
    def latency(self) -> float:
        """Mean seconds a text, one at a time."""
        return statistics.fmean(self.latencies)

    @property
    def texts_a_second(self) -> float | None:
        """Of the stream."""
        if self.stream_seconds is None:
            return None
        return len(self.latencies) / self.stream_seconds

    def to_json(self) -> dict[str, Any]:
        """All figures, with those that follow from them."""
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
) -> list[Measurement]:
    """Measure entries side by side.

    Each text is first read outside of timing, which warms up and counts the work.
    The repeats go round by round through all entries, so that a machine that becomes
    slower or faster meanwhile does so for all of them.

    entries (Sequence[Entry]): What to measure.
    texts (Sequence[str]): The texts.
    words (int): Their number of words.
    repeats (int): Rounds.
    device (torch.device): What is waited for.
    RETURNS (list[Measurement]): One for each entry.
    """
    results = []
    for entry in entries:
        result = Measurement(entry.name, entry.kind, [], None, words)
        entry.read_alone(texts[0])
        with count_work(entry.lm) as work, peak_memory(device) as peak:
            for text in texts:
                entry.read_alone(text)
        result.work = work if entry.lm is not None else None
        result.memory = peak.size
        if entry.stream is not None:
            entry.stream(texts[:WARM_UP_TEXTS])
        results.append(result)
    rounds: list[list[list[float]]] = [[] for _ in entries]
    streams: list[list[float]] = [[] for _ in entries]
    for _ in range(repeats):
        for entry, times in zip(entries, rounds, strict=True):
            times.append([_seconds(entry.read_alone, text, device) for text in texts])
    for turn in range(repeats):
        for place, entry in enumerate(entries):
            if entry.stream is None:
                continue
            with peak_memory(device) as peak:
                streams[place].append(_seconds(entry.stream, texts, device))
            if turn == 0:
                results[place].stream_memory = peak.size
    for result, times, seconds in zip(results, rounds, streams, strict=True):
        result.latencies = [
            statistics.median(each) for each in zip(*times, strict=True)
        ]
        result.stream_seconds = statistics.median(seconds) if seconds else None
    return results


def _seconds(read: Callable[[Any], object], texts: Any, device: torch.device) -> float:
    wait(device)
    start = time.perf_counter()
    told = read(texts)
    wait(device)
    return told if isinstance(told, float) else time.perf_counter() - start


def wait(device: torch.device) -> None:
    """Let the device finish its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed.

    values (Sequence[float]): At least one.
    share (float): In 0..1.
    """
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
