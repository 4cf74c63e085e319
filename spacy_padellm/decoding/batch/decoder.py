"""`BatchDecoder`: the paper's decoding, separate sequences as one batch.

It is the reference for `TreeDecoder`, and decodes models that cannot run token trees
(PaDeLLM-Batch and PaDeLLM-Multi: paper, section 4.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from spacy_padellm.decoding.base import COUNTS_AND_MENTIONS, DecodeJob, DecodeResult
from spacy_padellm.decoding.batch.batching import (
    PromptedText,
    TextResult,
    stream_batches,
)
from spacy_padellm.decoding.batch.generation import Generated, generate
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.limits import Cuts, Limits, check_limits, mention_room
from spacy_padellm.decoding.mention_prompts import MentionPrompt, separate_prompts
from spacy_padellm.decoding.replicas import Replica, make_replicas
from spacy_padellm.lm.devices.choose import check_devices
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.branches import CountPrompts
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS


@dataclass(frozen=True, slots=True)
class BatchDecoder:
    """Decode the sequences of a text as one batch, first counts, then mentions.

    max_mentions (int): Most mentions of one label in one text.
    max_mention_tokens (int): Most tokens of a mention.
    max_batch_tokens (int | None): Tokens of the prompts of a batch of several texts,
        padding included. None decodes one text at a time, as the paper does.
    devices (tuple[str, ...]): Devices for replicas of the model, which share the
        sequences of a text, or the batches of texts. Empty means the model's own
        device.
    """

    max_mentions: int = 32
    max_mention_tokens: int = 64
    max_batch_tokens: int | None = None
    devices: tuple[str, ...] = ()
    needs_weights: ClassVar[bool] = True
    default_threshold: ClassVar[float] = 0.0
    output_format: ClassVar[str] = COUNTS_AND_MENTIONS

    def __post_init__(self) -> None:
        check_limits(
            max_mentions=self.max_mentions,
            max_mention_tokens=self.max_mention_tokens,
            max_batch_tokens=self.max_batch_tokens,
        )
        check_devices(self.devices)

    def answer_room(self, job: DecodeJob, context: int) -> Callable[[int], int]:
        """See `Sized`."""
        return mention_room(self.max_mention_tokens, context)

    def stream(self, job: DecodeJob, texts: Iterable[str]) -> Iterator[DecodeResult]:
        """See `Decoder`."""
        cuts = Cuts()
        yield from self.stream_unreported(job, texts, cuts=cuts)
        cuts.report(Limits(self.max_mentions, self.max_mention_tokens))

    def stream_unreported(
        self, job: DecodeJob, texts: Iterable[str], *, cuts: Cuts
    ) -> Iterator[DecodeResult]:
        """Decode a stream of texts, and leave the report of limits to the caller.

        job, texts: See `Decoder`.
        cuts (Cuts): Those of the texts are added to it.
        YIELDS (list[Mention] | Exception): See `Decoder`.
        """
        replicas = make_replicas(job.model, job.prompt, self.devices)
        one_by_one = self.max_batch_tokens is None

        def ask(texts: Sequence[str]) -> list[CountPrompts]:
            return job.prompt.count_prompts(texts, list(job.labels.values()))

        def decode_batch(
            replica: Replica, prompted: Sequence[PromptedText]
        ) -> list[TextResult]:
            batch = _BatchRun(
                replicas if one_by_one else [replica],
                prompted,
                job.labels,
                self,
                job.forced,
            )
            return batch.decode()

        yield from stream_batches(
            job.model,
            texts,
            ask=ask,
            decode_batch=decode_batch,
            cuts=cuts,
            replicas=replicas[:1] if one_by_one else replicas,
            max_batch_tokens=self.max_batch_tokens,
        )


@dataclass(frozen=True, slots=True)
class _BatchRun:
    """Decoding of a batch of texts.

    replicas (Sequence[Replica]): The replicas that share its sequences.
    prompted (Sequence[PromptedText]): The texts.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    decoder (BatchDecoder): The settings.
    forced (ForcedOutputs | None): Answers to use instead of the model's.
    """

    replicas: Sequence[Replica]
    prompted: Sequence[PromptedText]
    labels: Mapping[str, str]
    decoder: BatchDecoder
    forced: ForcedOutputs | None

    def decode(self) -> list[TextResult]:
        """Generate the counts of all texts, then all mentions."""
        cuts = [Cuts() for _ in self.prompted]
        prompts = self._mention_prompts(self._counts(), cuts)
        generated = self._mentions(prompts)
        strings = self.replicas[0].prompt.strings.decode_mentions(
            [answer.ids for answer in generated]
        )
        found: list[list[Mention]] = [[] for _ in self.prompted]
        for prompt, string, answer in zip(prompts, strings, generated, strict=True):
            mention = prompt.answered_with(string, answer.log_probabilities)
            found[prompt.text_index].append(mention)
            cuts[prompt.text_index].note_answer(cut=answer.cut, full=answer.full)
        return list(map(TextResult, found, cuts))

    @property
    def _sequences(self) -> list[list[int]]:
        """The count prompts of all texts."""
        return [sequence for item in self.prompted for sequence in item.sequences]

    def _counts(self) -> list[int]:
        """Generate the counts of all labels of all texts."""
        sequences = self._sequences
        forced_ids = None
        if self.forced is not None:
            forced_ids = [
                self.forced.count(item.text, label)
                for item in self.prompted
                for label in self.labels
            ]
        answers = generate(
            self.replicas,
            sequences,
            [MAX_COUNT_TOKENS] * len(sequences),
            bidirectional_spans=[
                span for item in self.prompted for span in item.bidirectional_spans
            ],
            forced=forced_ids,
            counts=True,
        )
        prompt = self.replicas[0].prompt
        return [prompt.read_count(answer.ids)[0] for answer in answers]

    def _mention_prompts(
        self, counts: Sequence[int], cuts: Sequence[Cuts]
    ) -> list[MentionPrompt]:
        """The prompts of all mentions.

        counts (Sequence[int]): The counts of all labels of all texts.
        cuts (Sequence[Cuts]): Those of each text; the cut counts are added.
        """
        prompt = self.replicas[0].prompt
        pairs = [
            (number, label) for number in range(len(cuts)) for label in self.labels
        ]
        found: list[MentionPrompt] = []
        for (text_index, label), sequence, count in zip(
            pairs, self._sequences, counts, strict=True
        ):
            if not count:
                continue
            cuts[text_index].note_count(count, self.decoder.max_mentions)
            shared = prompt.mention_prompts(
                self.prompted[text_index].text,
                self.labels[label],
                count=count,
                number=min(count, self.decoder.max_mentions),
            )
            found += separate_prompts(shared, sequence, label, text_index=text_index)
        return found

    def _mentions(self, prompts: Sequence[MentionPrompt]) -> list[Generated]:
        """Generate the mentions of all texts."""
        texts = [self.prompted[prompt.text_index] for prompt in prompts]
        forced_ids = None
        if self.forced is not None:
            forced_ids = [
                self.forced.mention(item.text, prompt.label, prompt.index)
                for item, prompt in zip(texts, prompts, strict=True)
            ]
        room = self.decoder.max_batch_tokens
        if room is not None:
            # there may be many, so their batches are no larger than that of the counts
            sequences = self._sequences
            room = max(room, len(sequences) * max(map(len, sequences)))
        return generate(
            self.replicas,
            [prompt.sequence for prompt in prompts],
            [self.decoder.max_mention_tokens] * len(prompts),
            bidirectional_spans=[item.prompts.bidirectional_span for item in texts],
            max_batch_tokens=room,
            forced=forced_ids,
        )
