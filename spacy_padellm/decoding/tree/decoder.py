"""`TreeDecoder`: each text is encoded once, with all labels and mentions in one tree.

Pass 1 runs the text and the labels, and gives the first tokens of the counts. If the
model tags its texts, pass 1 runs the text alone: sure tags give mentions, the others
are drafts of counts and mentions. Pass 2 runs the counts and all mention prompts. It
gives the first token of each mention, and shows whether the counts were complete. The
passes after it generate the rest of the mentions, several tokens at once if a draft
from the text is right. The generated tokens and their probabilities are those of greedy
decoding of separate sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from spacy_padellm.checks import is_number, is_whole
from spacy_padellm.decoding.base import (
    COUNTS_AND_MENTIONS,
    DecodeJob,
    DecodeResult,
    ask_each,
)
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.limits import (
    Cuts,
    Limits,
    check_context,
    check_limits,
    mention_room,
)
from spacy_padellm.decoding.replicas import Replica, make_replicas, map_on_replicas
from spacy_padellm.decoding.tree.pass_size import pass_tokens
from spacy_padellm.decoding.tree.run import TreeRun, Waiting
from spacy_padellm.decoding.tree.tags import TagSet, choose_tags
from spacy_padellm.decoding.tree.text import TreeText
from spacy_padellm.decoding.tree.text_job import SelectionSettings, TextJob
from spacy_padellm.errors import Errors
from spacy_padellm.lm.cuda_graphs import GraphRunner, borrow_graph_runner
from spacy_padellm.lm.devices.choose import check_devices
from spacy_padellm.lm.tree_support import (
    most_pass_tokens,
    warn_unsupported,
    why_no_tree,
)
from spacy_padellm.prompt.branches import CountPrompts

LOOK_AHEAD = 512  # texts that are tokenized and sorted by length together
# F1 is best if mentions count from half of the best F1 on (Lipton et al., 2014)
DEFAULT_THRESHOLD = 0.3
REPLICA_TEXTS = 64  # texts that a replica takes at once


@dataclass(frozen=True, slots=True)
class TreeDecoder:
    """Decode all mentions of all labels of many texts in a few forward passes.

    max_mentions (int): Most mentions of one label in one text.
    max_mention_tokens (int): Most tokens of a mention.
    max_batch_tokens (int | None): Tokens of a forward pass; a single text may exceed
        it. None is 1,024 on the CPU; on a GPU up to 16,384, by its free memory.
    draft_tokens (int): Tokens of a mention to draft from the text in each pass; 0
        turns drafts off.
    min_count_probability (float | None): A label's count is the highest number of
        mentions that is reached with at least this probability, in 0..1. A mention's
        score is multiplied by the probability that the count reaches its index. Low
        values find more. None uses the most likely count, as the paper does.
    from_text (bool): Allow only tokens with which a mention is a string of the text.
    tag_weight (float): For models that tag their texts: the share of the tags'
        probability in a mention's score, in 0..1. Mentions that were only tagged are
        found, too. With 0, tags are used for drafts only.
    sure_tag_probability (float): For models that tag their texts: the tags replace the
        prompts of a label if each word's tag has at least this probability, in 0.5..1.
        The label's mentions and scores are then those of the tags. With 1, no prompt is
        replaced, nor with a model that was trained with overlapping mentions. For
        labels that were never trained together, only sure absence replaces a prompt.
    cuda_graphs (bool): On a GPU, run texts that are given one at a time by CUDA graphs.
        A graph is captured when a pass of its size first occurs. Ignored for streams of
        texts and on CPUs.
    cascade_attention (bool): Compute the attention to the prefix of a tree apart from
        that to the own branch (Hydragen). Not measured on a GPU yet, so no setting of
        the pipe.
    devices (tuple[str, ...]): Devices for replicas of the model, which share the texts.
        Empty means the model's own device.
    """

    max_mentions: int = 32
    max_mention_tokens: int = 64
    max_batch_tokens: int | None = None
    draft_tokens: int = 4
    min_count_probability: float | None = None
    from_text: bool = False
    tag_weight: float = 0.0
    sure_tag_probability: float = 1.0
    cuda_graphs: bool = False
    cascade_attention: bool = False
    devices: tuple[str, ...] = ()
    needs_weights: ClassVar[bool] = True
    output_format: ClassVar[str] = COUNTS_AND_MENTIONS

    def __post_init__(self) -> None:
        check_limits(
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
        # the paper's decoding accepts mentions whatever their score
        finds_more = self.min_count_probability is not None or self.tag_weight
        return DEFAULT_THRESHOLD if finds_more else 0.0

    def answer_room(self, job: DecodeJob, context: int) -> Callable[[int], int]:
        """See `Sized`."""
        return mention_room(self.max_mention_tokens, context)

    def stream(self, job: DecodeJob, texts: Iterable[str]) -> Iterator[DecodeResult]:
        """See `Decoder`."""
        cuts = Cuts()
        replicas = make_replicas(job.model, job.prompt, self.devices)

        def decode(
            replica: Replica, texts: Iterable[str], cuts: Cuts
        ) -> Iterator[DecodeResult]:
            return TreeStream.of(self, replica.bind(job), cuts).decode(texts)

        if len(replicas) == 1:
            yield from decode(replicas[0], texts, cuts)
        else:
            source = iter(texts)
            batches = iter(lambda: list(islice(source, REPLICA_TEXTS)), [])

            def work(
                replica: Replica, texts: list[str]
            ) -> tuple[list[DecodeResult], Cuts]:
                # threads must not count in the same place
                replica_cuts = Cuts()
                return list(decode(replica, texts, replica_cuts)), replica_cuts

            for results, replica_cuts in map_on_replicas(replicas, batches, work):
                cuts.add(replica_cuts)
                yield from results
        cuts.report(self.limits)

    def why_separate(self, job: DecodeJob, prompts: CountPrompts) -> str:
        """Get the reason why a text must be decoded as separate sequences.

        job (DecodeJob): The model and the prompt.
        prompts (CountPrompts): The text's count prompts.
        RETURNS (str): The reason; empty if it is decoded as a token tree.
        """
        longest = len(prompts.root) + max(map(len, prompts.labels))
        # a count, an index and a mention may follow
        longest += job.prompt.longest_index(self.max_mentions)
        longest += self.max_mention_tokens
        return why_no_tree(job.model, longest)

    @property
    def limits(self) -> Limits:
        """The limits of counts and mentions."""
        return Limits(self.max_mentions, self.max_mention_tokens)


@dataclass(frozen=True, slots=True)
class TreeStream:
    """Decodes a stream of texts with one model.

    decoder (TreeDecoder): The settings.
    job (DecodeJob): The model, the prompt and the labels.
    cuts (Cuts): Those of all texts are added to it.
    tags (TagSet | None): The tags of texts; None if they are not tagged.
    """

    decoder: TreeDecoder
    job: DecodeJob
    cuts: Cuts
    tags: TagSet | None

    @classmethod
    def of(cls, decoder: TreeDecoder, job: DecodeJob, cuts: Cuts) -> TreeStream:
        """Prepare a stream; see the class for the arguments."""
        tags = None
        if decoder.draft_tokens or decoder.tag_weight:
            tags = choose_tags(job.model, job.labels, eos=job.prompt.eos)
        return cls(decoder, job, cuts, tags)

    def decode(self, texts: Iterable[str]) -> Iterator[DecodeResult]:
        """Decode texts; yields their results in order."""
        lm = self.job.model
        if reason := why_no_tree(lm, 0):
            warn_unsupported(lm, reason)
            yield from self._separately(texts)
            return
        results: dict[int, DecodeResult] = {}  # by the text's number in the stream
        graphs = borrow_graph_runner(lm) if self.decoder.cuda_graphs else nullcontext()
        with graphs as graph_runner:
            waiting = self._waiting(texts, results)
            number = 0
            for finished in self.run(waiting, graph_runner=graph_runner):
                if finished is not None:
                    results[finished[0]] = finished[1]
                while number in results:
                    yield results.pop(number)
                    number += 1
        while number in results:  # texts at the end that needed no pass
            yield results.pop(number)
            number += 1

    def _waiting(
        self, texts: Iterable[str], results: dict[int, DecodeResult]
    ) -> Iterator[Waiting | None]:
        """The texts' trees, sorted by size within the look-ahead.

        Results of texts that need no tree are added to `results`.
        YIELDS (Waiting | None): None if the whole look-ahead needed no tree.
        """
        source, names = iter(texts), list(self.job.labels.values())

        def ask(texts: Sequence[str]) -> list[CountPrompts]:
            return self.job.prompt.count_prompts(texts, names)

        start = 0
        descending = False
        while window := list(islice(source, LOOK_AHEAD)):
            all_prompts = ask_each(ask, window)
            ready = []
            for key, (text, prompts) in enumerate(
                zip(window, all_prompts, strict=True), start
            ):
                if isinstance(prompts, ValueError):
                    results[key] = prompts
                    continue
                result = self._without_tree(text, prompts)
                if result is None:
                    ready.append((self._first_size(prompts), key, text, prompts))
                else:
                    results[key] = result
            # alternately up and down, so that sizes are alike where two windows meet
            ready.sort(key=lambda item: item[0], reverse=descending)
            descending = not descending
            start += len(window)
            if not ready:
                yield None
            for size, key, text, prompts in ready:
                yield Waiting(key, size, TreeText(self.text_job(text, prompts)))

    def run(
        self,
        waiting: Iterator[Waiting | None],
        *,
        graph_runner: GraphRunner | None = None,
    ) -> TreeRun:
        """The forward passes of texts; see `TreeRun` for the arguments."""
        lm = self.job.model
        return TreeRun(
            lm,
            waiting,
            max_batch_tokens=self.decoder.max_batch_tokens or pass_tokens(lm),
            most_tokens=most_pass_tokens(lm.model.config.get_text_config()),
            decode_separately=self._separate_result,
            draft_tokens=self.decoder.draft_tokens,
            cuts=self.cuts,
            tags=self.tags.ids if self.tags else (),
            graph_runner=graph_runner,
            cascade=self.decoder.cascade_attention,
        )

    def text_job(self, text: str, prompts: CountPrompts) -> TextJob:
        """A text to decode as a token tree.

        text (str): The text.
        prompts (CountPrompts): Its count prompts.
        """
        return TextJob(
            text,
            prompts,
            prompt=self.job.prompt,
            labels=self.job.labels,
            context=self.job.model.context,
            limits=self.decoder.limits,
            cuts=Cuts(),  # of a text that starts again, they would be counted twice
            selection=self._selection,
            forced=self.job.forced,
            tags=self.tags,
            tags_first=self._tags_first,
        )

    def _without_tree(self, text: str, prompts: CountPrompts) -> DecodeResult | None:
        """The result of a text that cannot be decoded as a tree; None if it can."""
        try:
            check_context(prompts, self.job.model.context)
        except ValueError as error:
            return error
        if reason := self.decoder.why_separate(self.job, prompts):
            warn_unsupported(self.job.model, reason)
            return self._separate_result(text)
        return None

    def _separate_result(self, text: str) -> DecodeResult:
        (result,) = self._separately([text])
        return result

    def _first_size(self, prompts: CountPrompts) -> int:
        """The tokens of a text's first pass."""
        labels = 0 if self._tags_first else sum(map(len, prompts.labels))
        return len(prompts.root) + labels

    @property
    def _tags_first(self) -> bool:
        """Whether the first pass of a text runs the text alone."""
        # forced outputs need all labels, and drafts of tags could not be better
        return self.tags is not None and self.job.forced is None

    @property
    def _selection(self) -> SelectionSettings:
        if self.job.forced is not None:
            return SelectionSettings()
        # tags show only the outer ones of overlapping mentions
        replaces = self.decoder.tag_weight and not self.job.model.tags.overlaps
        return SelectionSettings(
            self.decoder.min_count_probability,
            self.decoder.from_text,
            self.decoder.tag_weight,
            self.decoder.sure_tag_probability if replaces else 1.0,
        )

    def _separately(self, texts: Iterable[str]) -> Iterator[DecodeResult]:
        decoder = BatchDecoder(
            max_mentions=self.decoder.max_mentions,
            max_mention_tokens=self.decoder.max_mention_tokens,
        )
        return decoder.stream_unreported(self.job, texts, cuts=self.cuts)
