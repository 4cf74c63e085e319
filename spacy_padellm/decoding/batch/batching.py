"""Decodes a stream of texts in batches of similar length, with results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from traceback import clear_frames

import torch

from spacy_padellm.decoding.base import DecodeResult, ask_each
from spacy_padellm.decoding.batch.generation import cut_batches
from spacy_padellm.decoding.limits import Cuts, check_context
from spacy_padellm.decoding.replicas import Replica, map_on_replicas
from spacy_padellm.error_words import words_of
from spacy_padellm.errors import Errors
from spacy_padellm.lm.files.load_errors import is_out_of_memory
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.branches import CountPrompts

# texts of a stream that are sorted by length together
LOOK_AHEAD = 128


@dataclass(frozen=True, slots=True)
class PromptedText:
    """A text with its prompts."""

    text: str
    prompts: CountPrompts

    @property
    def sequences(self) -> list[list[int]]:
        """The prompts, one for each label."""
        return self.prompts.sequences

    @property
    def bidirectional_spans(self) -> list[tuple[int, int]]:
        """For each prompt, the tokens with bidirectional attention."""
        return [self.prompts.bidirectional_span] * len(self.prompts.labels)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of prompts, and tokens of the longest."""
        rests = self.prompts.labels
        return len(rests), len(self.prompts.root) + max(map(len, rests))


@dataclass(frozen=True, slots=True)
class TextResult:
    """The result of one text.

    mentions (list[Mention]): By label, then by index.
    cuts (Cuts): The limits that it reached.
    """

    mentions: list[Mention]
    cuts: Cuts = field(default_factory=Cuts)


DecodeBatch = Callable[[Replica, Sequence[PromptedText]], Sequence[TextResult]]


@dataclass(eq=False, slots=True)
class _LookAhead:
    """Texts of a stream that are batched together.

    results (list[DecodeResult | None]): The results so far.
    unfinished (int): How many batches have no results yet.
    """

    results: list[DecodeResult | None]
    unfinished: int = 0


@dataclass(frozen=True, slots=True)
class _Batch:
    """Texts of a look-ahead that are decoded together.

    numbers (list[int]): Their indexes in the look-ahead.
    """

    look_ahead: _LookAhead
    numbers: list[int]
    prompted: list[PromptedText]


def stream_batches(
    lm: LanguageModel,
    texts: Iterable[str],
    *,
    ask: Callable[[Sequence[str]], Sequence[CountPrompts]],
    decode_batch: DecodeBatch,
    cuts: Cuts,
    replicas: Sequence[Replica],
    max_batch_tokens: int | None,
) -> Iterator[DecodeResult]:
    """Decode a stream of texts batch by batch.

    lm (LanguageModel): The model.
    texts (Iterable[str]): The texts.
    ask (Callable[[Sequence[str]], Sequence[CountPrompts]]): Makes the texts' prompts.
    decode_batch (DecodeBatch): Decodes a batch on a replica.
    cuts (Cuts): Those of all texts are added to it.
    replicas (Sequence[Replica]): The replicas that share the batches.
    max_batch_tokens (int | None): Tokens of the prompts of a batch, padding included; a
        single text may exceed it. None means one text at a time.
    YIELDS (list[Mention] | Exception): See `Decoder.stream`.
    """
    look_aheads: deque[_LookAhead] = deque()

    def batches() -> Iterator[_Batch]:
        source = iter(texts)
        size = 1 if max_batch_tokens is None else LOOK_AHEAD
        while look_ahead_texts := list(islice(source, size)):
            look_ahead = _LookAhead([None] * len(look_ahead_texts))
            look_aheads.append(look_ahead)
            prompts = ask_each(ask, look_ahead_texts)
            yield from _cut_look_ahead(
                look_ahead, look_ahead_texts, prompts, lm.context, max_batch_tokens
            )

    def work(
        replica: Replica, batch: _Batch
    ) -> tuple[_Batch, list[TextResult | Exception]]:
        return batch, _read_all(replica, batch.prompted, decode_batch)

    for batch, results in map_on_replicas(replicas, batches(), work):
        look_ahead = batch.look_ahead
        for number, result in zip(batch.numbers, results, strict=True):
            if isinstance(result, TextResult):
                cuts.add(result.cuts)
                look_ahead.results[number] = result.mentions
            else:
                look_ahead.results[number] = result
        look_ahead.unfinished -= 1
        yield from _finished(look_aheads)


def _cut_look_ahead(
    look_ahead: _LookAhead,
    texts: Sequence[str],
    prompts: Sequence[CountPrompts | ValueError],
    context: int,
    max_batch_tokens: int | None,
) -> list[_Batch]:
    """Cut a look-ahead into batches; texts that cannot be asked about are errors."""
    fitting: list[int] = []
    prompted: list[PromptedText] = []
    for number, (text, text_prompts) in enumerate(zip(texts, prompts, strict=True)):
        if isinstance(text_prompts, ValueError):
            look_ahead.results[number] = text_prompts
            continue
        try:
            check_context(text_prompts, context)
        except ValueError as error:
            look_ahead.results[number] = error
        else:
            fitting.append(number)
            prompted.append(PromptedText(text, text_prompts))
    # a look-ahead without any fitting text is an empty batch, so that it has its turn
    cuts = list(cut_batches([p.shape for p in prompted], max_batch_tokens)) or [[]]
    look_ahead.unfinished = len(cuts)
    return [
        _Batch(look_ahead, [fitting[i] for i in cut], [prompted[i] for i in cut])
        for cut in cuts
    ]


def _finished(look_aheads: deque[_LookAhead]) -> Iterator[DecodeResult]:
    """Yield the results of finished look-aheads, up to the first unfinished one."""
    while look_aheads and not look_aheads[0].unfinished:
        for result in look_aheads.popleft().results:
            assert result is not None
            yield result


def _read_all(
    replica: Replica, prompted: Sequence[PromptedText], decode_batch: DecodeBatch
) -> list[TextResult | Exception]:
    """Decode a batch. If it fails, decode each text alone, so that only some fail."""
    if not prompted:
        return []
    try:
        return list(decode_batch(replica, prompted))
    except ValueError as error:
        if len(prompted) == 1:
            # the error is kept, but not what the failed batch had in memory
            clear_frames(error.__traceback__)
            return [error]
        words = ""
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        words = words_of(error)
    # outside of the handler, as the error keeps the failed batch in memory
    if words:
        device = replica.lm.device
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if len(prompted) == 1:
            tokens = prompted[0].prompts.text_tokens
            message = Errors.P1007.format(tokens=tokens, device=device, error=words)
            return [ValueError(message)]
    return [
        result
        for item in prompted
        for result in _read_all(replica, [item], decode_batch)
    ]
