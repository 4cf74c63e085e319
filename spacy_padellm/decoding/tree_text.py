"""One text's token tree as it is decoded: its counts, then its mentions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from spacy_padellm.decoding.base import Forced, Limits
from spacy_padellm.decoding.source import Source
from spacy_padellm.decoding.tag_drafts import Tagged, share_scores, tagged_mentions
from spacy_padellm.errors import Errors
from spacy_padellm.mentions import Mention
from spacy_padellm.prompt_tokens import CountBranches, PromptTokens
from spacy_padellm.tree import ROOT, TokenTree


@dataclass(frozen=True, slots=True)
class Reading:
    """What a pass read of one text.

    tokens (Sequence[int]): The likeliest token after each of the text's reads.
    scores (Sequence[float]): Their log-probabilities.
    chances (Sequence[float]): The probabilities of the tokens asked for.
    pick (Callable[[int, Sequence[int]], tuple[int, float]]): The likeliest of some
        tokens after a read, with its log-probability.
    tags (float64, (tokens, 1 + labels)): The log-probabilities of the tags of each
        token of the text; see `tagged_mentions`.
    """

    tokens: Sequence[int]
    scores: Sequence[float]
    chances: Sequence[float]
    pick: Callable[[int, Sequence[int]], tuple[int, float]]
    tags: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Choice:
    """How counts and mentions are chosen; the defaults are the paper's.

    min_count_probability (float | None): See `TreeDecoder`.
    from_text (bool): See `TreeDecoder`.
    tag_weight (float): See `TreeDecoder`.
    min_tag_probability (float): See `TreeDecoder`.
    """

    min_count_probability: float | None = None
    from_text: bool = False
    tag_weight: float = 0.0
    min_tag_probability: float = 0.0


@dataclass(eq=False, slots=True)
class _MentionBranch:
    """A mention being generated.

    `end` is the slot of its last token that is sure, `read` the pass's read that
    shows what follows there; the reads after it show what follows the draft.
    """

    label: str
    index: int
    end: int
    read: int
    forced: list[int] | None
    generated: list[int] = field(default_factory=list)
    drafted: list[int] = field(default_factory=list)
    score: float = 0.0  # log-probability, of the count's reaching this index as well


@dataclass(eq=False, slots=True)
class _CountBranch:
    """A label whose count is being read, with the mentions of the count so far.

    `read` is the pass's read that shows the next token; the reads after it show what
    follows the draft. `chances` is the first of its probabilities among those asked
    for: of each drafted token, then of the digits. `guessed` is the count that guesses
    were planted for before it was read, and `check` the read that shows what follows.
    """

    label: str
    start: int  # slot of the prompt's first token after the root
    end: int  # slot of its last one
    read: int
    forced: list[int] | None
    drafted: tuple[int, ...] = ()
    chances: int | None = None
    reached: Sequence[float] = ()  # probabilities of at least 1, 2, ... mentions
    guessed: int = 0
    check: int = 0
    decided: bool = False
    generated: list[int] = field(default_factory=list)
    guesses: list[_MentionBranch] = field(default_factory=list)


class TreeText:
    """Grows the tree of one text pass by pass."""

    def __init__(
        self,
        prompt: PromptTokens,
        text: str,
        branches: CountBranches,
        *,
        labels: Mapping[str, str],
        limits: Limits,
        choice: Choice,
        context: int,
        forced: Forced | None,
        tags: Sequence[str] = (),
        tags_first: bool = False,
    ) -> None:
        """Plant the text, and the labels unless its tags come first.

        prompt (PromptTokens): The prompt.
        text (str): The text.
        branches (CountBranches): Its count prompts.
        labels (Mapping[str, str]): Label -> its name in the prompt.
        limits (Limits): On counts and mentions.
        choice (Choice): How counts and mentions are chosen.
        context (int): The longest sequence in tokens that the model takes.
        forced (Forced | None): Answers to give instead of the model's.
        tags (Sequence[str]): The labels that the text's tokens are tagged with: 1, 2,
            ...; none if they are not.
        tags_first (bool): Whether labels wait for the tags, which then draft their
            counts as well.
        """
        self.tree = TokenTree(mutual=branches.mutual)
        self.reads: list[int] = []  # slots after which tokens are read in this pass
        # reads and tokens whose probabilities are asked for
        self.chances: list[tuple[int, int]] = []
        # slots of the text whose tags are asked for in this pass
        self.tagged = range(*branches.text) if tags else range(0)
        self._tags = tags
        self._tagged: dict[str, list[Tagged]] = {}  # by label
        self._drafts: dict[str, list[Tagged]] = {}
        self._prompt = prompt
        self._text = text
        self._branches = branches
        self._labels = labels
        self._limits = limits
        self._context = context
        self._forced = forced
        self._choice = choice if forced is None else Choice()
        self._source = Source(branches.root[slice(*branches.text)], prompt)
        self._counting: list[_CountBranch] = []
        self._generating: list[_MentionBranch] = []
        self._done: list[_MentionBranch] = []
        self._root = self.tree.extend(ROOT, branches.root)
        if not tags_first:
            for label, ids in zip(labels, branches.labels, strict=True):
                self._plant_label(label, ids)
        self._tags_first = tags_first

    def take(self, reading: Reading, *, draft_tokens: int) -> bool:
        """Take what a pass read, and plant what the next one shall read.

        reading (Reading): What it read.
        draft_tokens (int): Tokens of each mention to draft at most.
        RETURNS (bool): Whether there is anything left to read.
        RAISES (ValueError): If the model's context has no room for a mention.
        """
        self._reading = reading
        self.reads, self.chances = [], []
        if self.tagged:
            tokens = [self._branches.root[slot] for slot in self.tagged]
            pieces = list(map(self._prompt.piece, tokens))
            self._tagged = tagged_mentions(tokens, pieces, reading.tags, self._tags)
            self._drafts = self._tagged if draft_tokens else {}
            self.tagged = range(0)
            if self._tags_first:
                return self._plant_tagged(reading.tags)
        undecided = []
        for count in self._counting:
            if self._count_goes_on(count):
                undecided.append(count)
            else:
                self._generating += count.guesses
        self._counting = undecided
        going = self._generating
        self._generating = [b for b in going if self._mention_goes_on(b, draft_tokens)]
        return bool(self._counting or self._generating)

    def mentions(self) -> list[Mention]:
        """The mentions, by label, then by index."""
        order = {label: place for place, label in enumerate(self._labels)}
        self._done.sort(key=lambda branch: (order[branch.label], branch.index))
        strings = self._prompt.decode_mentions([b.generated for b in self._done])
        generated = [
            Mention(branch.label, branch.index, string, math.exp(branch.score))
            for branch, string in zip(self._done, strings, strict=True)
        ]
        weight = self._choice.tag_weight
        if not weight or not self._tagged:
            return generated
        tagged = {
            label: [(self._prompt.decode(t.ids).strip(), t.score) for t in found]
            for label, found in self._tagged.items()
        }
        return share_scores(generated, tagged, weight=weight)

    def _read(self, slot: int) -> int:
        """Ask for what follows a slot; gives the number of the read."""
        self.reads.append(slot)
        return len(self.reads) - 1

    # Counts

    def _plant_tagged(self, tags: npt.NDArray[np.float64]) -> bool:
        """Plant the labels that may have mentions, with the counts of their tags.

        tags (float64, (tokens, 1 + labels)): As in `Reading`.
        RETURNS (bool): Whether there are any.
        """
        chances = dict(zip(self._tags, np.exp(tags.max(axis=0))[1:], strict=True))
        for label, ids in zip(self._labels, self._branches.labels, strict=True):
            if chances[label] < self._choice.min_tag_probability:
                continue
            branch = self._plant_label(label, ids)
            count = len(self._drafts.get(label, ()))
            if 0 < count <= len(self._prompt.count_digits):
                answer = self._digit(count)
                # the mentions may have no room, but then there may be none
                with suppress(ValueError):
                    branch.check = self._plant_mentions(branch, count, answer)
                    branch.guessed = count
        return bool(self._counting)

    def _plant_label(self, label: str, ids: Sequence[int]) -> _CountBranch:
        """Ask for a label's count."""
        end = self.tree.extend(self._root, ids)
        forced = None
        if self._forced is not None:
            forced = self._forced.count(self._text, label)
        start = end - len(ids) + 1
        # most tokenizers of words put a blank before every number
        drafted = self._prompt.count_start
        branch = _CountBranch(label, start, end, self._read(end), forced, drafted)
        if drafted:
            last = self.tree.extend(end, drafted)
            for slot in range(last - len(drafted) + 1, last + 1):
                self._read(slot)
        if self._choice.min_count_probability is not None:
            self._ask_chances(branch)
        self._counting.append(branch)
        return branch

    def _ask_chances(self, branch: _CountBranch) -> None:
        """Ask for the distribution of a count."""
        digits = self._prompt.count_digits
        if digits:
            branch.chances = len(self.chances)
            pairs = enumerate(branch.drafted, start=branch.read)
            self.chances += pairs
            last = branch.read + len(branch.drafted)
            self.chances += [(last, digit) for digit in digits]

    def _count_goes_on(self, branch: _CountBranch) -> bool:
        """Take the next tokens of a count; its guesses stand if it was complete."""
        if branch.decided:
            return False
        if branch.chances is not None and self._decide(branch):
            return branch.decided
        for offset in range(len(branch.drafted) + 1):
            token = self._reading.tokens[branch.read + offset]
            if branch.forced is not None:
                token = branch.forced[len(branch.generated)]
            branch.generated.append(token)
            count, complete = self._prompt.read_count(branch.generated)
            if complete:
                # the guesses were planted for the digits before this token
                if count:
                    self._limits.capped(count)
                else:
                    branch.guesses = []
                return False
            if offset == len(branch.drafted) or token != branch.drafted[offset]:
                break
        branch.drafted = ()
        if count > len(branch.reached):
            branch.reached = ()  # the probabilities are those of single digits
        guessed, branch.guessed = branch.guessed, 0
        # the model may have written it otherwise
        if guessed and branch.generated == self._digit(guessed):
            branch.generated.append(self._reading.tokens[branch.check])
            count, complete = self._prompt.read_count(branch.generated)
            if complete:
                self._take_guesses(branch, count)
                return False
        branch.read = self._plant_mentions(branch, count, branch.generated)
        return True

    def _decide(self, branch: _CountBranch) -> bool:
        """Set a count to the highest that is reached with enough probability.

        RETURNS (bool): Whether it is another one than the likeliest, which goes its
            usual way.
        """
        at = branch.chances or 0
        chances = self._reading.chances
        before = math.prod(chances[at : at + len(branch.drafted)])
        at += len(branch.drafted)
        digits = chances[at : at + len(self._prompt.count_digits)]
        sums = list(accumulate(before * chance for chance in reversed(digits)))
        branch.reached = sums[::-1]
        branch.chances = None
        least = self._choice.min_count_probability or 0.0
        count = sum(chance >= least for chance in branch.reached)
        read = self._reading.tokens[branch.read : branch.read + len(branch.drafted) + 1]
        likeliest, _ = self._prompt.read_count(read)
        if tuple(read[:-1]) != branch.drafted:
            likeliest = 0
        if likeliest > len(digits):
            branch.reached = ()  # a number of several digits in one token
            return False
        if count == likeliest:
            return False
        if count and count == branch.guessed:
            self._take_guesses(branch, count)
        elif count:
            self._limits.capped(count)
            branch.generated = self._digit(count)
            branch.decided = True
            branch.read = self._plant_mentions(branch, count, branch.generated)
        else:
            branch.guesses = []
        return True

    def _digit(self, count: int) -> list[int]:
        """The tokens of a count of one digit, without what ends them."""
        return self._prompt.count_answer(count)[: len(self._prompt.count_start) + 1]

    def _take_guesses(self, branch: _CountBranch, count: int) -> None:
        """Let the mentions stand that were planted before the count was read."""
        self._limits.capped(count)
        for guess in branch.guesses:
            self._weigh(guess, branch)

    def _weigh(self, guess: _MentionBranch, branch: _CountBranch) -> None:
        """Begin a mention's score with the probability of the count."""
        if guess.index <= len(branch.reached):
            guess.score = math.log(branch.reached[guess.index - 1] or 1e-30)

    def _plant_mentions(
        self, branch: _CountBranch, count: int, generated: Sequence[int]
    ) -> int:
        """Guess that the count is complete: ask for its mentions and for its end.

        generated (Sequence[int]): The tokens of the count.
        RETURNS (int): The read that shows what follows them.
        """
        branch.guesses = []
        read_at = None
        if count:
            asked = min(count, self._limits.max_mentions)
            name = self._labels[branch.label]
            prompts = self._prompt.mention_branches(self._text, name, asked, count)
            stem = branch.end
            if prompts.keep is not None:
                stem = self._path_slot(branch, prompts.keep - 1)
            longest = self.tree.depth(stem) + 1 + len(prompts.stem)
            longest += max(map(len, prompts.mentions))
            if longest >= self._context:
                tokens, context = longest, self._context
                raise ValueError(Errors.P121.format(tokens=tokens, context=context))
            if prompts.stem:
                first = self.tree.filled
                stem = self.tree.extend(stem, prompts.stem)
                if prompts.keep is None and _starts(prompts.stem, generated):
                    read_at = first + len(generated) - 1
            drafts = self._drafts.get(branch.label, [])
            for n, ids in enumerate(prompts.mentions, start=1):
                end = self.tree.extend(stem, ids)
                forced = None
                if self._forced is not None:
                    forced = self._forced.mention(self._text, branch.label, n)
                guess = _MentionBranch(branch.label, n, end, self._read(end), forced)
                if n <= len(drafts):
                    self._draft(guess, drafts[n - 1].ids)
                self._weigh(guess, branch)
                branch.guesses.append(guess)
        if read_at is None:
            # the prompt's tokens for the count are others than the model's
            read_at = self.tree.extend(branch.end, generated)
        return self._read(read_at)

    def _path_slot(self, branch: _CountBranch, place: int) -> int:
        """Slot of the token at this place of a label's prompt."""
        root = len(self._branches.root)
        return place if place < root else branch.start + place - root

    # Mentions

    def _mention_goes_on(self, branch: _MentionBranch, draft_tokens: int) -> bool:
        """Take the next tokens of a mention, and ask for those after them."""
        for offset in range(len(branch.drafted) + 1):
            token, score = self._next(branch, branch.read + offset)
            if token == self._prompt.eos:
                self._done.append(branch)
                return False
            branch.generated.append(token)
            branch.score += score
            if self._is_too_long(branch):
                self._limits.mentions += 1
                self._done.append(branch)
                return False
            if offset == len(branch.drafted) or token != branch.drafted[offset]:
                break
            branch.end += 1
        self._feed(branch, draft_tokens)
        return True

    def _next(self, branch: _MentionBranch, read: int) -> tuple[int, float]:
        """A mention's next token and its log-probability."""
        token, score = self._reading.tokens[read], self._reading.scores[read]
        generated = branch.generated
        if branch.forced is not None:
            return branch.forced[len(generated)], score
        if not self._choice.from_text or self._source.fits(generated, token):
            return token, score
        allowed = self._source.allowed(generated)
        return self._reading.pick(read, allowed) if allowed else (token, score)

    def _is_too_long(self, branch: _MentionBranch) -> bool:
        if len(branch.generated) == self._limits.max_mention_tokens:
            return True
        # the position that the next token would be read at
        return self.tree.depth(branch.end) + 2 >= self._context

    def _draft(self, branch: _MentionBranch, ids: Sequence[int]) -> None:
        """Put in a draft of a mention that has no token yet; read after each."""
        room = min(
            self._limits.max_mention_tokens, self._context - self.tree.depth(branch.end)
        )
        # what follows the draft is a token of the mention too, and has a position
        branch.drafted = list(ids[: max(room - 2, 0)])
        if branch.drafted:
            self._read_draft(branch.end, self.tree.extend(branch.end, branch.drafted))

    def _read_draft(self, end: int, last: int) -> None:
        """Ask for what follows each token of a draft, which stands after `end`."""
        for slot in range(end + 1, last + 1):
            self._read(slot)

    def _feed(self, branch: _MentionBranch, draft_tokens: int) -> None:
        """Put in the last token and a draft of the next ones; read after each."""
        room = min(
            self._limits.max_mention_tokens - len(branch.generated),
            self._context - self.tree.depth(branch.end) - 2,
        )
        size = min(draft_tokens, room - 1)
        branch.drafted = self._source.draft(branch.generated, size)
        ids = [branch.generated[-1], *branch.drafted]
        last = self.tree.extend(branch.end, ids)
        branch.end = last - len(branch.drafted)
        branch.read = self._read(branch.end)
        self._read_draft(branch.end, last)


def _starts(ids: Sequence[int], beginning: Sequence[int]) -> bool:
    return list(ids[: len(beginning)]) == list(beginning)
