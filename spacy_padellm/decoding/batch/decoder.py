"""`BatchDecoder`: the paper's decoding, separate sequences as one batch.

The reference for `TreeDecoder`, and the way for models that cannot read token trees
(PaDeLLM-Batch and PaDeLLM-Multi: paper, section 4.3).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from spacy_padellm.decoding.base import (
    COUNTS_AND_MENTIONS,
    DecodeResult,
    Limits,
    check_settings,
)
from spacy_padellm.decoding.batch.batching import (
    PromptedText,
    TextResult,
    stream_found,
)
from spacy_padellm.decoding.batch.generation import generate
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.replicas import Replica, make_replicas
from spacy_padellm.lm.devices import check_devices
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.branches import CountBranches
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS, PromptTokens


@dataclass(frozen=True, slots=True)
class BatchDecoder:
    """Decode the sequences of a text as one batch, first counts, then mentions.

    max_mentions (int): Mentions of one label in one text at the most.
    max_mention_tokens (int): Tokens of a mention at the most.
    max_batch_tokens (int | None): Tokens of the prompts of a batch of several texts,
        padding included; None decodes one text at a time, as published.
    devices (tuple[str, ...]): Where to put replicas of the model: the sequences of each
        text are spread over them, or the batches of texts; none means the model's own
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
        check_settings(
            max_mentions=self.max_mentions,
            max_mention_tokens=self.max_mention_tokens,
            max_batch_tokens=self.max_batch_tokens,
        )
        check_devices(self.devices)

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
        replicas = make_replicas(lm, prompt, self.devices)
        one_by_one = self.max_batch_tokens is None

        def ask(texts: Sequence[str]) -> list[CountBranches]:
            return prompt.count_branches(texts, list(labels.values()))

        def read(
            replica: Replica, prompted: Sequence[PromptedText]
        ) -> list[TextResult]:
            return _decode(
                replicas if one_by_one else [replica],
                prompted,
                labels,
                self,
                forced=forced,
            )

        def report(over: int, cut: int) -> None:
            Limits(self.max_mentions, self.max_mention_tokens, over, cut).report()

        yield from stream_found(
            lm,
            texts,
            ask=ask,
            read=read,
            report=report,
            replicas=replicas[:1] if one_by_one else replicas,
            max_batch_tokens=self.max_batch_tokens,
        )


def _decode(
    replicas: Sequence[Replica],
    prompted: Sequence[PromptedText],
    labels: Mapping[str, str],
    limits: BatchDecoder,
    *,
    forced: ForcedOutputs | None,
) -> list[TextResult]:
    """Decode a batch of texts: the counts of all, then the mentions of all."""
    prompt = replicas[0].prompt
    forced_ids = None
    sequences = [sequence for item in prompted for sequence in item.sequences]
    pairs = [(item.text, label) for item in prompted for label in labels]
    if forced is not None:
        forced = forced.bound(prompt)
        forced_ids = [forced.count(text, label) for text, label in pairs]
    counted = generate(
        replicas,
        sequences,
        [MAX_COUNT_TOKENS] * len(sequences),
        bidirectional_spans=[
            place for item in prompted for place in item.bidirectional_spans
        ],
        forced=forced_ids,
        counts=True,
    )
    mentions: list[_MentionPrompt] = []
    over = [0] * len(prompted)
    for place, (sequence, answer) in enumerate(zip(sequences, counted, strict=True)):
        count, _ = prompt.read_count(answer.ids)
        if not count:
            continue
        text, label = pairs[place]
        capped = min(count, limits.max_mentions)
        over[place // len(labels)] += count > capped
        branch = prompt.mention_branches(text, labels[label], capped, count)
        path = sequence[: branch.keep] + branch.stem
        mentions += [
            _MentionPrompt(place // len(labels), label, n, path + ids)
            for n, ids in enumerate(branch.mentions, start=1)
        ]
    if forced is not None:
        forced_ids = [
            forced.mention(prompted[m.text].text, m.label, m.index) for m in mentions
        ]
    room = limits.max_batch_tokens
    if room is not None:
        # there may be many: they go in batches no larger than that of the counts
        room = max(room, len(sequences) * max(map(len, sequences)))
    generated = generate(
        replicas,
        [mention.sequence for mention in mentions],
        [limits.max_mention_tokens] * len(mentions),
        bidirectional_spans=[
            prompted[mention.text].branches.bidirectional_span for mention in mentions
        ],
        max_batch_tokens=room,
        forced=forced_ids,
    )
    strings = prompt.strings.decode_mentions([answer.ids for answer in generated])
    found: list[list[Mention]] = [[] for _ in prompted]
    cut = [0] * len(prompted)
    for mention, string, answer in zip(mentions, strings, generated, strict=True):
        score = math.exp(sum(answer.scores))
        found[mention.text].append(Mention(mention.label, mention.index, string, score))
        cut[mention.text] += answer.cut
    return [TextResult(*result) for result in zip(found, over, cut, strict=True)]


@dataclass(frozen=True, slots=True)
class _MentionPrompt:
    """A mention that is asked for: of which text, and by which prompt."""

    text: int
    label: str
    index: int
    sequence: list[int]
