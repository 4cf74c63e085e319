"""What the paper's baselines share: all mentions in the answer to one prompt."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from spacy_padellm.decoding.base import DecodeResult, Limits, check_settings
from spacy_padellm.decoding.baselines.answer_format import AnswerFormat
from spacy_padellm.decoding.batch.batching import PromptedText, TextResult, stream_found
from spacy_padellm.decoding.batch.generation import Generated, generate
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.replicas import Replica, make_replicas
from spacy_padellm.errors import Warnings, logger
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.tokens import PromptTokens


@dataclass(frozen=True, slots=True)
class AnswerDecoder:
    """Decode answers of a format, those of several texts as one batch.

    form (AnswerFormat): The format.
    max_mentions (int): Mentions of one label in one text at the most.
    max_batch_tokens (int): Tokens of the prompts of a batch, padding included; one text
        may exceed it.
    """

    form: ClassVar[AnswerFormat]
    needs_weights: ClassVar[bool] = True
    default_threshold: ClassVar[float] = 0.0
    max_mentions: int = 32
    max_batch_tokens: int = 1024

    @property
    def output_format(self) -> str:
        """See `Decoder`."""
        return self.form.name

    def __post_init__(self) -> None:
        check_settings(
            max_mentions=self.max_mentions, max_batch_tokens=self.max_batch_tokens
        )

    def stream(
        self,
        lm: LanguageModel | None,
        prompt: PromptTokens,
        texts: Iterable[str],
        labels: Mapping[str, str],
        *,
        forced: ForcedOutputs | None = None,
    ) -> Iterator[DecodeResult]:
        """See `Decoder`."""
        assert lm is not None
        return stream_answers(
            self.form,
            lm,
            prompt,
            texts,
            labels,
            max_mentions=self.max_mentions,
            max_batch_tokens=self.max_batch_tokens,
            forced=forced,
        )


def stream_answers(
    form: AnswerFormat,
    lm: LanguageModel,
    prompt: PromptTokens,
    texts: Iterable[str],
    labels: Mapping[str, str],
    *,
    max_mentions: int,
    max_batch_tokens: int,
    forced: ForcedOutputs | None,
) -> Iterator[DecodeResult]:
    """Decode texts by answers of a format; see `Decoder.stream`."""
    room = form.room(prompt, labels)

    def read(replica: Replica, prompted: Sequence[PromptedText]) -> list[TextResult]:
        forced_ids: list[list[int]] | None = None
        sequences = [sequence for item in prompted for sequence in item.sequences]
        limits = []
        for item in prompted:
            start, end = item.branches.text
            limits += [room(end - start)] * len(item.branches.labels)
        if forced is not None:
            golds = [GoldText(item.text, forced.gold[item.text]) for item in prompted]
            forced_ids = [
                ids for gold in golds for ids in form.tokens(prompt, gold, labels)
            ]
            limits = [len(ids) for ids in forced_ids]
        bidirectional_spans = [
            place for item in prompted for place in item.bidirectional_spans
        ]
        answers = generate(
            [replica],
            sequences,
            limits,
            bidirectional_spans=bidirectional_spans,
            forced=forced_ids,
        )
        size = len(form.groups(labels))
        return [
            _read_text(form, prompt, answers[i : i + size], labels, max_mentions)
            for i in range(0, len(answers), size)
        ]

    def report(over: int, cut: int) -> None:
        Limits(max_mentions, 0, over).report()
        if cut:
            logger.warning(Warnings.W104.format(n=cut))

    yield from stream_found(
        lm,
        texts,
        ask=lambda batch: form.ask(prompt, batch, labels),
        read=read,
        report=report,
        replicas=make_replicas(lm, prompt, ()),
        max_batch_tokens=max_batch_tokens,
    )


def _read_text(
    form: AnswerFormat,
    prompt: PromptTokens,
    answers: Sequence[Generated],
    labels: Mapping[str, str],
    max_mentions: int,
) -> TextResult:
    """Read a text's answers."""
    over = 0
    found: dict[str, list[Mention]] = {}
    for group, answer in zip(form.groups(labels), answers, strict=True):
        text, score = _scorer(prompt, answer)
        for label, pieces in form.read(text, group).items():
            over += len(pieces) > max_mentions
            found[label] = [
                Mention(label, n, piece.text, score(piece.start, piece.end))
                for n, piece in enumerate(pieces[:max_mentions], start=1)
            ]
    mentions = [mention for label in labels for mention in found.get(label, ())]
    return TextResult(mentions, over, sum(answer.cut for answer in answers))


def _scorer(
    prompt: PromptTokens, answer: Generated
) -> tuple[str, Callable[[int, int], float]]:
    """The string of an answer, and the probability of a part of it.

    A part's probability is the product of those of all tokens that hold one of its
    characters: a token that reaches over its edge counts too.
    """
    string = prompt.strings.decode(answer.ids)
    beginnings = {0: "", len(answer.ids): string}

    def beginning(size: int) -> str:
        if size not in beginnings:
            beginnings[size] = prompt.strings.decode(answer.ids[:size])
        return beginnings[size]

    def score(start: int, end: int) -> float:
        sizes = range(len(answer.ids) + 1)
        # bisection, as each look decodes a beginning of the answer; the last character
        # is there once no half of it is shown as a replacement character
        first = bisect_right(sizes, start, key=lambda n: len(beginning(n))) - 1
        last = bisect_left(
            sizes, True, key=lambda n: beginning(n).startswith(string[:end])
        )
        return math.exp(sum(answer.scores[first : max(last, first + 1)]))

    return string, score
