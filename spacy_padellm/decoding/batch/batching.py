"""A stream of texts in batches of like length, with the results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from spacy_padellm.decoding.base import DecodeResult, check_context
from spacy_padellm.decoding.batch.generation import cut_batches
from spacy_padellm.decoding.replicas import Replica, spread
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.branches import CountBranches

# texts of a stream that are looked at together to find some of like length
LOOK_AHEAD = 128


@dataclass(frozen=True, slots=True)
class PromptedText:
    """A text with its prompts."""

    text: str
    branches: CountBranches

    @property
    def sequences(self) -> list[list[int]]:
        """The whole prompts."""
        return [self.branches.root + ids for ids in self.branches.labels]

    @property
    def bidirectional_spans(self) -> list[tuple[int, int]]:
        """Of each prompt the tokens that see each other in both directions."""
        return [self.branches.bidirectional_span] * len(self.branches.labels)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of prompts, and tokens of the longest."""
        rests = self.branches.labels
        return len(rests), len(self.branches.root) + max(map(len, rests))


@dataclass(frozen=True, slots=True)
class TextResult:
    """What was read of one text.

    mentions (list[Mention]): By label, then by index.
    over (int): How many lists of mentions were cut to `max_mentions`.
    cut (int): How many answers reached the limit of their tokens.
    """

    mentions: list[Mention]
    over: int = 0
    cut: int = 0


@dataclass(eq=False, slots=True)
class _Window:
    """Texts that are looked at together, and their results so far."""

    found: list[DecodeResult | None]
    open: int = 0  # batches without results


def stream_found(
    lm: LanguageModel,
    texts: Iterable[str],
    *,
    ask: Callable[[Sequence[str]], Sequence[CountBranches]],
    read: Callable[[Replica, Sequence[PromptedText]], Sequence[TextResult]],
    report: Callable[[int, int], None],
    replicas: Sequence[Replica],
    max_batch_tokens: int | None,
) -> Iterator[DecodeResult]:
    """Decode a stream of texts batch by batch.

    lm (LanguageModel): The model.
    texts (Iterable[str]): The texts.
    ask (Callable[[Sequence[str]], Sequence[CountBranches]]): Gives the texts' prompts.
    read (Callable[[Replica, Sequence[PromptedText]], Sequence[TextResult]]): Decodes a
        batch.
    report (Callable[[int, int], None]): Given the sums of `over` and `cut` at the end.
    replicas (Sequence[Replica]): Where the batches are decoded.
    max_batch_tokens (int | None): Tokens of the prompts of a batch, padding included,
        which one text may exceed; None means one text at a time.
    YIELDS (list[Mention] | Exception): See `Decoder.stream`.
    """
    windows: deque[_Window] = deque()
    look_ahead = 1 if max_batch_tokens is None else LOOK_AHEAD

    def batches() -> Iterator[tuple[_Window, list[int], list[PromptedText]]]:
        stream = iter(texts)
        while batch_texts := list(islice(stream, look_ahead)):
            window = _Window([None] * len(batch_texts))
            fitting: list[int] = []
            prompted: list[PromptedText] = []
            for place, branches in enumerate(ask(batch_texts)):
                try:
                    check_context(branches, lm.context)
                except ValueError as error:
                    window.found[place] = error
                else:
                    fitting.append(place)
                    prompted.append(PromptedText(batch_texts[place], branches))
            shapes = [item.shape for item in prompted]
            # a window of which nothing fits still has its turn, as an empty batch
            cuts = list(cut_batches(shapes, max_batch_tokens)) or [[]]
            window.open = len(cuts)
            windows.append(window)
            for cut in cuts:
                yield window, [fitting[i] for i in cut], [prompted[i] for i in cut]

    def work(
        replica: Replica, batch: tuple[_Window, list[int], list[PromptedText]]
    ) -> tuple[_Window, list[int], list[TextResult | Exception]]:
        window, places, prompted = batch
        return window, places, _read_all(replica, prompted, read)

    over = cut = 0
    for window, places, results in spread(replicas, batches(), work):
        for place, result in zip(places, results, strict=True):
            if isinstance(result, TextResult):
                over, cut = over + result.over, cut + result.cut
                window.found[place] = result.mentions
            else:
                window.found[place] = result
        window.open -= 1
        yield from _finished(windows)
    report(over, cut)


def _finished(windows: deque[_Window]) -> Iterator[DecodeResult]:
    while windows and not windows[0].open:
        for found in windows.popleft().found:
            assert found is not None
            yield found


def _read_all(
    replica: Replica,
    prompted: Sequence[PromptedText],
    read: Callable[[Replica, Sequence[PromptedText]], Sequence[TextResult]],
) -> list[TextResult | Exception]:
    """Read a batch; if it fails, each text alone, so that no other is lost with it."""
    if not prompted:
        return []
    try:
        return list(read(replica, prompted))
    except (ValueError, torch.OutOfMemoryError) as error:
        if len(prompted) == 1:
            return [error]
    # not while the error holds on to the memory of what failed
    return [result for item in prompted for result in _read_all(replica, [item], read)]
