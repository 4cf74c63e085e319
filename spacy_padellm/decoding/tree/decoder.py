"""`TreeDecoder`: each text is encoded once, all its labels and mentions in one tree.

Pass 1 reads text and labels and gives the counts' first tokens; if the model tags its
texts it reads the text alone: tags that are sure give mentions, and the others are
drafts of counts and mentions. Pass 2 reads the counts and all mention prompts: it gives
each mention's first token and shows whether the count was complete. The passes after it
read the rest of the mentions, several tokens at once where a draft from the text holds.
Tokens and probabilities of what is generated are those of greedy decoding of separate
sequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from spacy_padellm.checks import is_number, is_whole
from spacy_padellm.decoding.base import (
    COUNTS_AND_MENTIONS,
    DecodeResult,
    Limits,
    check_context,
    check_settings,
)
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.replicas import Replica, make_replicas, spread
from spacy_padellm.decoding.tree.run import TreeRun, Waiting
from spacy_padellm.decoding.tree.step import Choice
from spacy_padellm.decoding.tree.tags import TagSet, choose_tags
from spacy_padellm.decoding.tree.text import TreeText
from spacy_padellm.errors import Errors
from spacy_padellm.lm.cuda_graphs import borrow_graph_runner
from spacy_padellm.lm.devices import check_devices
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.tree_support import warn_unsupported, why_no_tree
from spacy_padellm.prompt.branches import CountBranches
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS, PromptTokens

LOOK_AHEAD = 512  # texts that are tokenised, and sorted by length, together
# F1 is best where mentions count from half of the best F1 on (Lipton et al., 2014)
DEFAULT_THRESHOLD = 0.3
REPLICA_TEXTS = 64  # texts that a replica takes at a time


@dataclass(frozen=True, slots=True)
class TreeDecoder:
    """Decode all mentions of all labels of many texts in a few passes.

    max_mentions (int): Mentions of one label in one text at the most.
    max_mention_tokens (int): Tokens of a mention at the most.
    max_batch_tokens (int): Tokens of a pass; one text may exceed it.
    draft_tokens (int): Tokens of a mention to draft from the text in each pass; 0
        drafts nothing.
    min_count_probability (float | None): A label's count is the highest number of
        mentions that is reached with at least this probability, in 0..1, and a
        mention's score is multiplied by the probability that the count reaches its
        index. Low values find more. None takes the likeliest count (the paper's).
    from_text (bool): Leave out tokens that would make a mention another string than
        one of the text.
    tag_weight (float): Of a model that was taught to tag its texts: the share of a
        mention's score, in 0..1, that is the probability of its tags; mentions that
        were only tagged are found too. 0 leaves tags to the drafts alone.
    sure_tag_probability (float): Of such a model: a label is not asked for if each word
        is inside its mentions, or is not, with at least this probability, in 0.5..1:
        its mentions are those that are tagged, with the tags' scores. 1 asks for all,
        and so does a model that was taught mentions that overlap. Of labels that were
        never taught together only their absence is sure.
    cuda_graphs (bool): On a GPU, read a text that is given alone by CUDA graphs, each
        captured when passes of its size first come. Streams of texts, and CPUs, do
        without.
    devices (tuple[str, ...]): Where to put replicas of the model, over which texts are
        spread; none means the model's own device.
    """

    max_mentions: int = 32
    max_mention_tokens: int = 64
    max_batch_tokens: int = 1024
    draft_tokens: int = 4
    min_count_probability: float | None = None
    from_text: bool = False
    tag_weight: float = 0.0
    sure_tag_probability: float = 1.0
    cuda_graphs: bool = False
    devices: tuple[str, ...] = ()
    needs_weights: ClassVar[bool] = True
    output_format: ClassVar[str] = COUNTS_AND_MENTIONS

    def __post_init__(self) -> None:
        check_settings(
            max_mentions=self.max_mentions,
            max_mention_tokens=self.max_mention_tokens,
            max_batch_tokens=self.max_batch_tokens,
        )
        check_devices(self.devices)
        if not is_whole(self.draft_tokens) or self.draft_tokens < 0:
            message = Errors.P126.format(value=self.draft_tokens)
            raise ValueError(message)
        if not (is_number(self.tag_weight) and 0 <= self.tag_weight <= 1):
            raise ValueError(Errors.P128.format(value=self.tag_weight))
        sure = self.sure_tag_probability
        if not (is_number(sure) and 0.5 <= sure <= 1):
            raise ValueError(Errors.P129.format(value=sure))
        least = self.min_count_probability
        if least is not None and not (is_number(least) and 0 < least <= 1):
            raise ValueError(Errors.P125.format(value=least))

    @property
    def default_threshold(self) -> float:
        """See `Decoder`."""
        # what the paper's decoding finds counts whatever its score
        finds_more = self.min_count_probability is not None or self.tag_weight
        return DEFAULT_THRESHOLD if finds_more else 0.0

    @property
    def _uses_tags(self) -> bool:
        return bool(self.draft_tokens or self.tag_weight)

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
        limits = Limits(self.max_mentions, self.max_mention_tokens)
        replicas = make_replicas(lm, prompt, self.devices)

        def decode(replica: Replica, batch: Iterable[str]) -> Iterator[DecodeResult]:
            bound = forced and forced.bound(replica.prompt)
            tags = None
            if self._uses_tags:
                tags = choose_tags(replica.lm, labels, eos=replica.prompt.eos)
            work = _Work(self, replica, labels, limits, bound, tags)
            return work.decode(batch)

        if len(replicas) == 1:
            yield from decode(replicas[0], texts)
        else:
            source = iter(texts)
            pieces = iter(lambda: list(islice(source, REPLICA_TEXTS)), [])
            for found in spread(replicas, pieces, lambda *item: list(decode(*item))):
                yield from found
        limits.report()


@dataclass(frozen=True, slots=True)
class _Work:
    """What decoding on one replica needs."""

    decoder: TreeDecoder
    replica: Replica
    labels: Mapping[str, str]
    limits: Limits
    forced: ForcedOutputs | None
    tags: TagSet | None  # what texts are tagged with

    def decode(self, texts: Iterable[str]) -> Iterator[DecodeResult]:
        """Decode texts; gives what was found in each, in order."""
        lm = self.replica.lm
        if reason := why_no_tree(lm, 0):
            warn_unsupported(lm, reason)
            yield from self._separately(texts)
            return
        found: dict[int, DecodeResult] = {}  # by the text's place in the stream
        graphs = borrow_graph_runner(lm) if self.decoder.cuda_graphs else nullcontext()
        with graphs as graph_runner:
            run = TreeRun(
                lm,
                self._waiting(texts, found),
                max_batch_tokens=self.decoder.max_batch_tokens,
                draft_tokens=self.decoder.draft_tokens,
                tags=self.tags.ids if self.tags else (),
                graph_runner=graph_runner,
            )
            place = 0
            for done in run:
                if done is not None:
                    found[done[0]] = done[1]
                while place in found:
                    yield found.pop(place)
                    place += 1
        while place in found:  # the last ones needed no pass
            yield found.pop(place)
            place += 1

    def _waiting(
        self, texts: Iterable[str], found: dict[int, DecodeResult]
    ) -> Iterator[Waiting | None]:
        """The texts' trees, sorted by length within the look-ahead.

        What needs no tree goes to `found`; None follows if nothing does.
        """
        prompt, lm = self.replica.prompt, self.replica.lm
        source, names = iter(texts), list(self.labels.values())
        start = 0
        descending = False
        while window := list(islice(source, LOOK_AHEAD)):
            ready = []
            asked = prompt.count_branches(window, names)
            for key, (text, branches) in enumerate(
                zip(window, asked, strict=True), start
            ):
                try:
                    check_context(branches, lm.context)
                except ValueError as error:
                    found[key] = error
                    continue
                if self._is_separate(branches):
                    (found[key],) = self._separately([text])
                else:
                    size = len(branches.root)
                    if not self._tags_first:
                        size += sum(map(len, branches.labels))
                    ready.append((size, key, text, branches))
            # up and down in turns: where two such pieces meet, sizes are alike
            ready.sort(key=lambda item: item[0], reverse=descending)
            descending = not descending
            start += len(window)
            if not ready:
                yield None
            for size, key, text, branches in ready:
                yield Waiting(key, size, self._plant(text, branches))

    @property
    def _tags_first(self) -> bool:
        """Whether texts are tagged before their labels are planted."""
        # an answer that is forced needs all labels, and no better drafts
        return self.tags is not None and self.forced is None

    @property
    def _sure_tag_probability(self) -> float:
        # tags show the outer ones of overlapping mentions alone
        if self.replica.lm.tags.overlaps or not self.decoder.tag_weight:
            return 1.0
        return self.decoder.sure_tag_probability

    def _plant(self, text: str, branches: CountBranches) -> TreeText:
        lm = self.replica.lm
        return TreeText(
            self.replica.prompt,
            text,
            branches,
            labels=self.labels,
            limits=self.limits,
            choice=Choice(
                self.decoder.min_count_probability,
                self.decoder.from_text,
                self.decoder.tag_weight,
                self._sure_tag_probability,
            ),
            context=lm.context,
            forced=self.forced,
            tags=self.tags,
            tags_first=self._tags_first,
        )

    def _is_separate(self, branches: CountBranches) -> bool:
        """Whether a text must be decoded as separate sequences."""
        lm = self.replica.lm
        longest = len(branches.root) + max(map(len, branches.labels))
        # a count, an index and a mention may follow
        longest += 2 * MAX_COUNT_TOKENS + self.decoder.max_mention_tokens
        reason = why_no_tree(lm, longest)
        if reason:
            warn_unsupported(lm, reason)
        return bool(reason)

    def _separately(self, texts: Iterable[str]) -> Iterator[DecodeResult]:
        decoder = BatchDecoder(
            max_mentions=self.decoder.max_mentions,
            max_mention_tokens=self.decoder.max_mention_tokens,
        )
        lm, prompt = self.replica.lm, self.replica.prompt
        return decoder.stream(lm, prompt, texts, self.labels, forced=self.forced)
