"""Decode a text with the tree decoder, and trace what each pass did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from spacy_padellm.decoding.base import DecodeJob
from spacy_padellm.decoding.limits import Cuts
from spacy_padellm.decoding.tree.count_branch import CountBranch
from spacy_padellm.decoding.tree.decoder import TreeDecoder, TreeStream
from spacy_padellm.decoding.tree.mentions import MentionBranch
from spacy_padellm.decoding.tree.run import Waiting
from spacy_padellm.decoding.tree.step import PassResult
from spacy_padellm.decoding.tree.text import TreeText
from spacy_padellm.decoding.tree.text_job import TextJob
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.token_strings import TokenStrings

Origin = Literal["generated", "accepted", "rejected"]


@dataclass(frozen=True, slots=True)
class TracedToken:
    """A token of a mention.

    text (str): Its string.
    origin (Origin): "generated" by the model, or a draft that was "accepted" or
        "rejected".
    number (int): The pass that did so, from 1.
    """

    text: str
    origin: Origin
    number: int


@dataclass(slots=True)
class MentionTrace:
    """A mention that was generated.

    index (int): Its number within the label, from 1.
    tokens (list[TracedToken]): Its tokens, and rejected drafts, in their order.
    prompt (int): Tokens of its prompt, from the root on.
    kept (bool): Whether the label's count includes it.
    """

    index: int
    tokens: list[TracedToken] = field(default_factory=list)
    prompt: int = 0
    kept: bool = False


@dataclass(slots=True)
class LabelTrace:
    """A label.

    label, name (str): The label, and its name in the prompt.
    number (int): The pass that ran its prompt; 0 if its tags were sure.
    prompt (int): Tokens of its prompt, from the root on.
    mentions (list[MentionTrace]): The mentions that were generated.
    """

    label: str
    name: str
    number: int = 0
    prompt: int = 0
    mentions: list[MentionTrace] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of mentions that its count includes."""
        return sum(mention.kept for mention in self.mentions)


@dataclass(slots=True)
class DecodingTrace:
    """How a text was decoded.

    text (str): The text.
    labels (list[LabelTrace]): Its labels.
    passes (list[int]): The number of tokens of each forward pass.
    mentions (list[Mention]): The mentions that were found.
    """

    text: str
    labels: list[LabelTrace]
    passes: list[int]
    mentions: list[Mention]

    @property
    def tokens(self) -> int:
        """The tokens of all passes."""
        return sum(self.passes)

    @property
    def separate_tokens(self) -> int:
        """The tokens of the same prompts and answers as separate sequences."""
        return sum(
            label.prompt
            + 1
            + sum(
                m.prompt + len(_generated(m.tokens)) for m in label.mentions if m.kept
            )
            for label in self.labels
            if label.number
        )

    def drafts(self) -> tuple[int, int]:
        """The numbers of drafted tokens that were accepted, and of all of them."""
        origins = [
            token.origin
            for label in self.labels
            for mention in label.mentions
            for token in mention.tokens
        ]
        accepted = origins.count("accepted")
        return accepted, accepted + origins.count("rejected")


def trace_decoding(decoder: TreeDecoder, job: DecodeJob, text: str) -> DecodingTrace:
    """Decode a text alone.

    decoder (TreeDecoder): The decoder.
    job (DecodeJob): The model, the prompt and the labels.
    text (str): A text that fits the model's context.
    RETURNS (DecodingTrace): What happened.
    RAISES (ValueError): If the text cannot be decoded.
    """
    stream = TreeStream.of(decoder, job, Cuts())
    (count_prompts,) = job.prompt.count_prompts([text], list(job.labels.values()))
    tree = _TracedText(stream.text_job(text, count_prompts))
    run = stream.run(iter([Waiting(0, tree.tree.width, tree)]))
    results = [finished[1] for finished in run if finished is not None]
    if isinstance(results[0], Exception):
        raise results[0]
    return tree.trace(results[0])


class _TracedText(TreeText):
    """A text's token tree that notes what each pass does."""

    def __init__(self, job: TextJob) -> None:
        """See `TreeText`."""
        super().__init__(job)
        self._passes: list[int] = []
        self._seen: dict[int, LabelTrace] = {}  # by the identity of its branch
        self._noted: dict[int, MentionTrace] = {}
        self._kept: list[object] = []  # branches: no identity is used twice

    def advance(self, result: PassResult, *, draft_tokens: int) -> bool:
        """See `TreeText`."""
        self._passes.append(self.tree.filled - sum(self._passes))
        number = len(self._passes)
        for count in self._counting:
            self._note_label(count, number)
        branches = [
            *self._generating,
            *(mention for count in self._counting for mention in count.mentions),
        ]
        before = [(b, len(b.generated), list(b.drafted)) for b in branches]
        unfinished = super().advance(result, draft_tokens=draft_tokens)
        for branch, start, drafted in before:
            new = branch.generated[start:]
            tokens = _traced_tokens(self.job.prompt.strings, new, drafted, number)
            self._noted[id(branch)].tokens += tokens
        for branch in self._generating + self._done:
            self._noted[id(branch)].kept = True
        for count in self._counting:
            self._note_label(count, number + 1)
        return unfinished

    def trace(self, mentions: Sequence[Mention]) -> DecodingTrace:
        """What happened to the text, once it is decoded.

        mentions (Sequence[Mention]): The mentions that were found.
        """
        seen = {trace.label: trace for trace in self._seen.values()}
        labels = [
            seen.get(label) or LabelTrace(label, name)
            for label, name in self.job.labels.items()
        ]
        return DecodingTrace(self.job.text, labels, self._passes, list(mentions))

    def _note_label(self, count: CountBranch, number: int) -> None:
        """Note a label and its mentions, when they are in the tree."""
        trace = self._seen.get(id(count))
        if trace is None:
            prompt = self.tree.depth(count.end) + 1
            name = self.job.labels[count.label]
            trace = self._seen[id(count)] = LabelTrace(
                count.label, name, number, prompt
            )
            self._kept.append(count)
        for mention in count.mentions:
            self._note_mention(mention, trace)

    def _note_mention(self, branch: MentionBranch, label: LabelTrace) -> None:
        if id(branch) not in self._noted:
            prompt = self.tree.depth(branch.end) + 1
            trace = MentionTrace(branch.index, prompt=prompt)
            self._noted[id(branch)] = trace
            label.mentions.append(trace)
            self._kept.append(branch)


def _traced_tokens(
    strings: TokenStrings, new: Sequence[int], drafted: Sequence[int], number: int
) -> list[TracedToken]:
    """The tokens that a pass gave a mention, and the drafts that it rejected."""
    right = 0
    while right < min(len(new), len(drafted)) and new[right] == drafted[right]:
        right += 1
    found: list[tuple[Origin, Sequence[int]]] = [
        ("accepted", new[:right]),
        ("rejected", drafted[right:]),
        ("generated", new[right:]),
    ]
    return [
        TracedToken(strings.string(token), origin, number)
        for origin, tokens in found
        for token in tokens
    ]


def _generated(tokens: Iterable[TracedToken]) -> list[TracedToken]:
    """The tokens of a mention, without drafts that were rejected."""
    return [token for token in tokens if token.origin != "rejected"]
