"""The counts of one text's token tree, and the mentions planted on the guess that a
count is complete."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate

from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.tree.mentions import MentionBranch, MentionGrower
from spacy_padellm.decoding.tree.step import PassResult
from spacy_padellm.decoding.tree.tags import Tagged
from spacy_padellm.errors import Errors


@dataclass(frozen=True, slots=True)
class TagGuess:
    """A count that a label's tags show, whose mentions were planted before it was read.

    count (int): The count.
    check (int): The pass's read that shows what follows its digit.
    """

    count: int
    check: int


@dataclass(eq=False, slots=True)
class CountBranch:
    """A label whose count is being read, with the mentions of the count so far.

    label (str): The label.
    start, end (int): Slots of its prompt's first token after the root, and of its last.
    read (int): The pass's read that shows the next token; the reads after it show what
        follows the draft.
    forced (list[int] | None): The tokens of the count to give instead.
    drafted (tuple[int, ...]): Tokens of the count that were planted unread.
    distribution (int | None): While the distribution of the count is asked for: the
        first of its probabilities, of each drafted token, then of the digits.
    reached (Sequence[float]): The probabilities of at least 1, 2, ... mentions.
    tag_guess (TagGuess | None): The count of the label's tags, until one is read.
    decided (bool): Whether the count was set by its distribution, and its mentions
        wait for the next pass.
    generated (list[int]): The tokens of the count so far.
    guesses (list[MentionBranch]): The mentions, on the guess that it is complete.
    """

    label: str
    start: int
    end: int
    read: int
    forced: list[int] | None
    drafted: tuple[int, ...] = ()
    distribution: int | None = None
    reached: Sequence[float] = ()
    tag_guess: TagGuess | None = None
    decided: bool = False
    generated: list[int] = field(default_factory=list)
    guesses: list[MentionBranch] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CountGrower:
    """Grows the counts of one text pass by pass.

    text (str): The text.
    root (int): Slot of the last token that all labels share; it is also their number,
        less one.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    forced (ForcedOutputs | None): Answers to give instead of the model's.
    mentions (MentionGrower): Grows the mentions of the same tree.
    """

    text: str
    root: int
    labels: Mapping[str, str]
    forced: ForcedOutputs | None
    mentions: MentionGrower

    def plant(self, label: str, ids: Sequence[int]) -> CountBranch:
        """Ask for a label's count.

        ids (Sequence[int]): The tokens of its prompt after the root.
        """
        grower, prompt = self.mentions, self.mentions.prompt
        tree, request = grower.tree, grower.request
        end = tree.extend(self.root, ids)
        forced = None
        if self.forced is not None:
            forced = self.forced.count(self.text, label)
        start = end - len(ids) + 1
        # most tokenizers of words put a blank before every number
        drafted = prompt.count_start
        branch = CountBranch(label, start, end, request.read(end), forced, drafted)
        if drafted:
            request.read_draft(end, tree.extend(end, drafted))
        if grower.choice.min_count_probability is not None:
            self._ask_distribution(branch)
        return branch

    def guess(self, branch: CountBranch, drafts: Sequence[Tagged]) -> None:
        """Plant the mentions that a label's tags show, before its count is read.

        drafts (Sequence[Tagged]): The mentions.
        """
        count = len(drafts)
        if 0 < count <= len(self.mentions.prompt.count_digits):
            # the mentions may have no room, but then there may be none
            with suppress(ValueError):
                answer = self._digit(count)
                check = self._plant_mentions(branch, count, answer, drafts)
                branch.tag_guess = TagGuess(count, check)

    def goes_on(
        self, branch: CountBranch, result: PassResult, drafts: Sequence[Tagged]
    ) -> bool:
        """Take the next tokens of a count; its guesses stand if it was complete.

        result (PassResult): What the last pass read.
        drafts (Sequence[Tagged]): The label's mentions that its tags show.
        RETURNS (bool): Whether there is more of it to read.
        RAISES (ValueError): If the model's context has no room for a mention.
        """
        if branch.decided:
            return False
        if branch.distribution is not None:
            likeliest = self._read_distribution(branch, branch.distribution, result)
            branch.distribution = None
            least = self.mentions.choice.min_count_probability or 0.0
            count = sum(chance >= least for chance in branch.reached)
            if branch.reached and count != likeliest:
                return self._set_count(branch, count, drafts)
        return self._read_tokens(branch, result, drafts)

    def _ask_distribution(self, branch: CountBranch) -> None:
        """Ask for the distribution of a count."""
        digits, request = self.mentions.prompt.count_digits, self.mentions.request
        if digits:
            branch.distribution = len(request.chances)
            request.chances += enumerate(branch.drafted, start=branch.read)
            last = branch.read + len(branch.drafted)
            request.chances += [(last, digit) for digit in digits]

    def _read_distribution(
        self, branch: CountBranch, first: int, result: PassResult
    ) -> int:
        """Take the probabilities of at least 1, 2, ... mentions.

        They stay unknown if the likeliest count is a number of several digits in one
        token.

        first (int): The first of the distribution's probabilities.
        RETURNS (int): The likeliest count.
        """
        prompt = self.mentions.prompt
        end = first + len(branch.drafted)
        before = math.prod(result.chances[first:end])
        digits = result.chances[end : end + len(prompt.count_digits)]
        sums = list(accumulate(before * chance for chance in reversed(digits)))
        tokens = result.tokens[branch.read : branch.read + len(branch.drafted) + 1]
        likeliest, _ = prompt.read_count(tokens)
        if tuple(tokens[:-1]) != branch.drafted:
            likeliest = 0
        branch.reached = sums[::-1] if likeliest <= len(digits) else ()
        return likeliest

    def _set_count(
        self, branch: CountBranch, count: int, drafts: Sequence[Tagged]
    ) -> bool:
        """Set a count that is not the likeliest.

        RETURNS (bool): Whether its mentions wait for the next pass.
        """
        if not count:
            branch.guesses = []
            return False
        if branch.tag_guess is not None and branch.tag_guess.count == count:
            self._take_guesses(branch, count)
            return False
        self.mentions.limits.capped(count)
        branch.generated = self._digit(count)
        branch.decided = True
        branch.read = self._plant_mentions(branch, count, branch.generated, drafts)
        return True

    def _read_tokens(
        self, branch: CountBranch, result: PassResult, drafts: Sequence[Tagged]
    ) -> bool:
        """Take the likeliest tokens of a count; see `goes_on`."""
        prompt = self.mentions.prompt
        for offset in range(len(branch.drafted) + 1):
            token = result.tokens[branch.read + offset]
            if branch.forced is not None:
                token = branch.forced[len(branch.generated)]
            branch.generated.append(token)
            count, complete = prompt.read_count(branch.generated)
            if complete:
                # the guesses were planted for the digits before this token
                if count:
                    self.mentions.limits.capped(count)
                else:
                    branch.guesses = []
                return False
            if offset == len(branch.drafted) or token != branch.drafted[offset]:
                break
        branch.drafted = ()
        if count > len(branch.reached):
            branch.reached = ()  # the probabilities are those of single digits
        guess, branch.tag_guess = branch.tag_guess, None
        # the model may have written it otherwise
        if guess is not None and branch.generated == self._digit(guess.count):
            branch.generated.append(result.tokens[guess.check])
            count, complete = prompt.read_count(branch.generated)
            if complete:
                self._take_guesses(branch, count)
                return False
        branch.read = self._plant_mentions(branch, count, branch.generated, drafts)
        return True

    def _digit(self, count: int) -> list[int]:
        """The tokens of a count of one digit, without what ends them."""
        prompt = self.mentions.prompt
        return prompt.count_answer(count)[: len(prompt.count_start) + 1]

    def _take_guesses(self, branch: CountBranch, count: int) -> None:
        """Let the mentions stand that were planted before the count was read."""
        self.mentions.limits.capped(count)
        for guess in branch.guesses:
            _weigh(guess, branch)

    def _plant_mentions(
        self,
        branch: CountBranch,
        count: int,
        generated: Sequence[int],
        drafts: Sequence[Tagged],
    ) -> int:
        """Guess that the count is complete: ask for its mentions and for its end.

        generated (Sequence[int]): The tokens of the count.
        drafts (Sequence[Tagged]): Mentions to draft, by index.
        RETURNS (int): The read that shows what follows them.
        """
        tree, request = self.mentions.tree, self.mentions.request
        branch.guesses = []
        read_at = None
        if count:
            number = min(count, self.mentions.limits.max_mentions)
            name = self.labels[branch.label]
            prompts = self.mentions.prompt.mention_branches(
                self.text, name, number, count
            )
            stem = branch.end
            if prompts.keep is not None:
                stem = self._path_slot(branch, prompts.keep - 1)
            longest = tree.depth(stem) + 1 + len(prompts.stem)
            longest += max(map(len, prompts.mentions))
            if longest >= self.mentions.context:
                message = Errors.P121.format(
                    tokens=longest, context=self.mentions.context
                )
                raise ValueError(message)
            if prompts.stem:
                first = tree.filled
                stem = tree.extend(stem, prompts.stem)
                if prompts.keep is None and _starts(prompts.stem, generated):
                    read_at = first + len(generated) - 1
            for n, ids in enumerate(prompts.mentions, start=1):
                end = tree.extend(stem, ids)
                forced = None
                if self.forced is not None:
                    forced = self.forced.mention(self.text, branch.label, n)
                guess = MentionBranch(branch.label, n, end, request.read(end), forced)
                if n <= len(drafts):
                    self.mentions.draft(guess, drafts[n - 1].ids)
                _weigh(guess, branch)
                branch.guesses.append(guess)
        if read_at is None:
            # the prompt's tokens for the count are others than the model's
            read_at = tree.extend(branch.end, generated)
        return request.read(read_at)

    def _path_slot(self, branch: CountBranch, place: int) -> int:
        """Slot of the token at this place of a label's prompt."""
        return place if place <= self.root else branch.start + place - self.root - 1


def _weigh(guess: MentionBranch, branch: CountBranch) -> None:
    """Begin a mention's score with the probability of the count."""
    if guess.index <= len(branch.reached):
        guess.score = math.log(branch.reached[guess.index - 1] or 1e-30)


def _starts(ids: Sequence[int], beginning: Sequence[int]) -> bool:
    return list(ids[: len(beginning)]) == list(beginning)
