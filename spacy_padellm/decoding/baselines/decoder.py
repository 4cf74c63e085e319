"""The paper's baselines: all mentions in the answer to one prompt."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from spacy_padellm.decoding.base import DecodeJob, DecodeResult
from spacy_padellm.decoding.baselines.answer_format import AnswerFormat
from spacy_padellm.decoding.batch.batching import (
    PromptedText,
    TextResult,
    stream_batches,
)
from spacy_padellm.decoding.batch.generation import Generated, generate
from spacy_padellm.decoding.limits import Cuts, check_limits
from spacy_padellm.decoding.replicas import Replica, make_replicas
from spacy_padellm.errors import Warnings, logger
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.tokens import PromptTokens


@dataclass(frozen=True, slots=True)
class AnswerDecoder:
    """Decode answers in a format, several texts as one batch.

    form (AnswerFormat): The format.
    max_mentions (int): Most mentions of one label in one text.
    max_batch_tokens (int): Tokens of the prompts of a batch, padding included; a single
        text may exceed it.
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
        check_limits(
            max_mentions=self.max_mentions, max_batch_tokens=self.max_batch_tokens
        )

    def answer_room(self, job: DecodeJob, context: int) -> Callable[[int], int]:
        """See `Sized`; at most half of the context: answers are rarely the longest."""
        room = self.form.room(job.prompt, job.labels)
        return lambda text_tokens: min(room(text_tokens), context // 2)

    def stream(self, job: DecodeJob, texts: Iterable[str]) -> Iterator[DecodeResult]:
        """See `Decoder`."""
        room = self.form.room(job.prompt, job.labels)

        def decode_batch(
            replica: Replica, prompted: Sequence[PromptedText]
        ) -> list[TextResult]:
            answers = _generate(self.form, job, replica, prompted, room)
            size = len(self.form.groups(job.labels))
            return [
                self._read_text(job, answers[i : i + size])
                for i in range(0, len(answers), size)
            ]

        cuts = Cuts()
        yield from stream_batches(
            job.model,
            texts,
            ask=lambda batch: self.form.ask(job.prompt, batch, job.labels),
            decode_batch=decode_batch,
            cuts=cuts,
            replicas=make_replicas(job.model, job.prompt, ()),
            max_batch_tokens=self.max_batch_tokens,
        )
        cuts.report_most(self.max_mentions)
        if cuts.answers:
            logger.warning(Warnings.W104.format(n=cuts.answers))

    def _read_text(self, job: DecodeJob, answers: Sequence[Generated]) -> TextResult:
        """Read the mentions of a text from the answers to its prompts."""
        cuts = Cuts()
        for answer in answers:
            cuts.note_answer(cut=answer.cut, full=answer.full)
        found: dict[str, list[Mention]] = {}
        for group, answer in zip(self.form.groups(job.labels), answers, strict=True):
            text, score = _scorer(job.prompt, answer)
            for label, pieces in self.form.read(text, group).items():
                cuts.note_count(len(pieces), self.max_mentions)
                found[label] = [
                    Mention(label, n, piece.text, score(piece.start, piece.end))
                    for n, piece in enumerate(pieces[: self.max_mentions], start=1)
                ]
        mentions = [mention for label in job.labels for mention in found.get(label, ())]
        return TextResult(mentions, cuts)


def _generate(
    form: AnswerFormat,
    job: DecodeJob,
    replica: Replica,
    prompted: Sequence[PromptedText],
    room: Callable[[int], int],
) -> list[Generated]:
    """Generate the answers to all prompts of a batch of texts."""
    forced_ids: list[list[int]] | None = None
    limits = []
    for item in prompted:
        start, end = item.prompts.text
        limits += [room(end - start)] * len(item.prompts.labels)
    if job.forced is not None:
        golds = [GoldText(item.text, job.forced.gold[item.text]) for item in prompted]
        forced_ids = [
            ids for gold in golds for ids in form.tokens(job.prompt, gold, job.labels)
        ]
        limits = [len(ids) for ids in forced_ids]
    return generate(
        [replica],
        [sequence for item in prompted for sequence in item.sequences],
        limits,
        bidirectional_spans=[
            span for item in prompted for span in item.bidirectional_spans
        ],
        forced=forced_ids,
    )


def _scorer(
    prompt: PromptTokens, answer: Generated
) -> tuple[str, Callable[[int, int], float]]:
    """The string of an answer, and a function for the probability of a part of it.

    The probability of a part is the product over all tokens that contain one of its
    characters, also if they extend beyond it.
    """
    string = prompt.strings.decode(answer.ids)
    beginnings = {0: "", len(answer.ids): string}

    def beginning(size: int) -> str:
        if size not in beginnings:
            beginnings[size] = prompt.strings.decode(answer.ids[:size])
        return beginnings[size]

    def score(start: int, end: int) -> float:
        sizes = range(len(answer.ids) + 1)
        # bisection, because each step decodes a beginning of the answer; the last
        # character is complete when it is not decoded as a replacement character
        first = bisect_right(sizes, start, key=lambda n: len(beginning(n))) - 1
        last = bisect_left(
            sizes, True, key=lambda n: beginning(n).startswith(string[:end])
        )
        return math.exp(sum(answer.log_probabilities[first : max(last, first + 1)]))

    return string, score
