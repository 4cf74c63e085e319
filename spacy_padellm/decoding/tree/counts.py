"""The counts of one text's token tree.

As soon as a pass gives a number, its mentions join the tree, before the next token has
confirmed that the number is complete. If the text is tagged, the mentions of the count
that the tags show join even earlier, together with the label's prompt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate

from spacy_padellm.decoding.tree.count_branch import (
    ChosenCount,
    CountBranch,
    FirstTokens,
    NextToken,
    TagGuess,
)
from spacy_padellm.decoding.tree.planting import MentionPlanter
from spacy_padellm.decoding.tree.step import PassResult
from spacy_padellm.decoding.tree.tags import TaggedMention
from spacy_padellm.decoding.tree.text_job import TextJob

_LEAST_PROBABILITY = 1e-30  # its logarithm is finite


@dataclass(frozen=True, slots=True)
class CountGrower:
    """Decodes the counts of one text, pass by pass.

    job (TextJob): The text.
    planter (MentionPlanter): Adds the mentions of a count to the tree.
    """

    job: TextJob
    planter: MentionPlanter

    def plant(
        self, label: str, ids: Sequence[int], tagged: Sequence[TaggedMention] = ()
    ) -> CountBranch:
        """Add a label's prompt to the tree, and ask for its count.

        label (str): The label.
        ids (Sequence[int]): The tokens of its prompt after the root.
        tagged (Sequence[TaggedMention]): The mentions that its tags show.
        RETURNS (CountBranch): The label, whose count the next pass gives.
        """
        tree, request = self.job.tree, self.job.request
        end = tree.extend(self.job.root, ids)
        branch = CountBranch(label, end - len(ids) + 1, end, self._forced(label))
        output = request.ask(end)
        # most tokenizers of words put a space token before every number
        drafted = self.job.prompt.count_start
        if drafted:
            request.ask_draft(end, tree.extend(end, drafted))
        distribution = None
        if self.job.selection.min_count_probability is not None:
            distribution = self._ask_distribution(output, drafted)
        guess = self._plant_guess(branch, tagged)
        branch.pending = FirstTokens(output, drafted, distribution, guess)
        return branch

    def advance(
        self, branch: CountBranch, result: PassResult, tagged: Sequence[TaggedMention]
    ) -> bool:
        """Take the next tokens of a count from a pass.

        branch (CountBranch): The label.
        result (PassResult): The outputs of the last pass.
        tagged (Sequence[TaggedMention]): The mentions of the label's tags, as drafts.
        RETURNS (bool): Whether the count needs another pass. If not, it is complete,
            and `branch.mentions` are its mentions.
        RAISES (ValueError): If the model's context has no room for a mention.
        """
        pending, branch.pending = branch.pending, None
        if isinstance(pending, FirstTokens):
            return self._take_first(branch, pending, result, tagged)
        if isinstance(pending, NextToken):
            return self._take_next(branch, pending, result, tagged)
        if isinstance(pending, ChosenCount):
            return self._confirm(branch, pending, result, tagged)
        return False

    def _forced(self, label: str) -> list[int] | None:
        forced = self.job.forced
        return None if forced is None else forced.count(self.job.text, label)

    def _ask_distribution(self, output: int, drafted: Sequence[int]) -> int | None:
        """Ask for the distribution of a count; returns its index."""
        digits, request = self.job.prompt.count_digits, self.job.request
        if not digits:
            return None
        index = len(request.probabilities)
        request.probabilities += enumerate(drafted, start=output)
        last = output + len(drafted)
        request.probabilities += [(last, digit) for digit in digits]
        return index

    def _plant_guess(
        self, branch: CountBranch, tagged: Sequence[TaggedMention]
    ) -> TagGuess | None:
        """Add the mentions that a label's tags show, before its count is known."""
        count = len(tagged)
        if 0 < count <= len(self.job.prompt.count_digits):
            # if the mentions do not fit the context, the count may still be 0
            with suppress(ValueError):
                end_output = self._plant_mentions(
                    branch, count, self._digit(count), tagged
                )
                return TagGuess(count, end_output)
        return None

    def _take_first(
        self,
        branch: CountBranch,
        first: FirstTokens,
        result: PassResult,
        tagged: Sequence[TaggedMention],
    ) -> bool:
        """Take a count's first tokens, or choose it from its distribution."""
        if first.distribution is not None:
            likeliest = self._read_distribution(
                branch, first, first.distribution, result
            )
            least = self.job.selection.min_count_probability or 0.0
            count = sum(probability >= least for probability in branch.at_least)
            if branch.at_least and count != likeliest:
                # it may be the first digit of a number, such as 1 of 19, but whether
                # there is a mention at all does not depend on the others
                may_go_on = likeliest and count
                digit = self._first_tokens(first, result) if may_go_on else []
                return self._choose(branch, count, digit, first.guess, tagged)
        count, complete = self._take_tokens(branch, first.output, first.drafted, result)
        guess = first.guess
        if complete:
            self._finish(branch, count)
            return False
        # the model may spell the number in another way
        if guess is not None and branch.generated == self._digit(guess.count):
            branch.generated.append(result.tokens[guess.end_output])
            count, complete = self.job.prompt.read_count(branch.generated)
            if complete:
                self._keep_guess(branch, count)
                return False
        self._plant_unconfirmed(branch, count, tagged)
        return True

    def _take_next(
        self,
        branch: CountBranch,
        pending: NextToken,
        result: PassResult,
        tagged: Sequence[TaggedMention],
    ) -> bool:
        """Take one more token of a count."""
        count, complete = self._take_tokens(branch, pending.output, (), result)
        if complete:
            self._finish(branch, count)
            return False
        self._plant_unconfirmed(branch, count, tagged)
        return True

    def _take_tokens(
        self,
        branch: CountBranch,
        output: int,
        drafted: Sequence[int],
        result: PassResult,
    ) -> tuple[int, bool]:
        """Take tokens as long as the draft is right, and one more.

        RETURNS (tuple[int, bool]): The count so far, and whether it is complete.
        """
        for offset in range(len(drafted) + 1):
            token = result.tokens[output + offset]
            if branch.forced is not None:
                token = branch.forced[len(branch.generated)]
            branch.generated.append(token)
            count, complete = self.job.prompt.read_count(branch.generated)
            if complete or offset == len(drafted) or token != drafted[offset]:
                break
        return count, complete

    def _read_distribution(
        self, branch: CountBranch, first: FirstTokens, index: int, result: PassResult
    ) -> int:
        """Set the probabilities of at least 1, 2, ... mentions.

        They stay unknown if the most likely count is a number of several digits in one
        token.

        index (int): Index of the distribution in the result's probabilities.
        RETURNS (int): The most likely count.
        """
        end = index + len(first.drafted)
        before = math.prod(result.probabilities[index:end])
        digits = result.probabilities[end : end + len(self.job.prompt.count_digits)]
        sums = list(accumulate(before * digit for digit in reversed(digits)))
        tokens = self._first_tokens(first, result)
        likeliest, _ = self.job.prompt.read_count(tokens)
        if tuple(tokens[:-1]) != first.drafted:
            likeliest = 0
        branch.at_least = sums[::-1] if likeliest <= len(digits) else ()
        return likeliest

    def _first_tokens(self, first: FirstTokens, result: PassResult) -> list[int]:
        """The most likely tokens after a label's prompt and each token of its draft."""
        end = first.output + len(first.drafted) + 1
        return list(result.tokens[first.output : end])

    def _choose(
        self,
        branch: CountBranch,
        count: int,
        digit: list[int],
        guess: TagGuess | None,
        tagged: Sequence[TaggedMention],
    ) -> bool:
        """Set a count that is not the most likely one.

        digit (list[int]): The tokens of the most likely count, if more digits after it
            would make another choice; else empty.
        RETURNS (bool): Whether its mentions need another pass before they can start.
        """
        if guess is not None and guess.count == count and not digit:
            self._keep_guess(branch, count)
            return False
        branch.mentions, branch.generated = [], []
        if count:
            branch.generated = self._digit(count)
            self._plant_mentions(branch, count, branch.generated, tagged)
        if not digit:
            self._finish(branch, count)
            return count > 0
        end = self.job.tree.extend(branch.end, digit)
        branch.pending = ChosenCount(count, digit, self.job.request.ask(end))
        return True

    def _confirm(
        self,
        branch: CountBranch,
        chosen: ChosenCount,
        result: PassResult,
        tagged: Sequence[TaggedMention],
    ) -> bool:
        """Keep a chosen count, unless the most likely number has several digits."""
        generated = [*chosen.digit, result.tokens[chosen.output]]
        count, complete = self.job.prompt.read_count(generated)
        if complete:
            self._finish(branch, chosen.count)
            return False
        branch.generated = generated
        self._plant_unconfirmed(branch, count, tagged)
        return True

    def _finish(self, branch: CountBranch, count: int) -> None:
        """Confirm a count whose mentions joined the tree before its end was known."""
        if count:
            self.job.limits.capped(count)
        else:
            branch.mentions = []

    def _keep_guess(self, branch: CountBranch, count: int) -> None:
        """Keep the mentions that joined the tree before the count was known."""
        self.job.limits.capped(count)
        self._weigh(branch)

    def _plant_unconfirmed(
        self, branch: CountBranch, count: int, tagged: Sequence[TaggedMention]
    ) -> None:
        """Add the mentions of a count that may be complete, and ask for its end."""
        output = self._plant_mentions(branch, count, branch.generated, tagged)
        branch.pending = NextToken(output)

    def _plant_mentions(
        self,
        branch: CountBranch,
        count: int,
        generated: Sequence[int],
        tagged: Sequence[TaggedMention],
    ) -> int:
        """Add the mentions of a count to the tree.

        generated (Sequence[int]): The tokens of the count.
        RETURNS (int): Number of the output that gives the token after them.
        """
        branch.mentions = []
        if count > len(branch.at_least):
            branch.at_least = ()  # the distribution is that of single digits
        end = None
        if count:
            branch.mentions, end = self.planter.plant(
                branch.label,
                count,
                generated,
                tagged,
                prompt_start=branch.start,
                prompt_end=branch.end,
            )
            self._weigh(branch)
        if end is None:
            end = self.job.tree.extend(branch.end, generated)
        return self.job.request.ask(end)

    def _weigh(self, branch: CountBranch) -> None:
        """Start the mentions' scores with the probability of the count."""
        for mention, probability in zip(branch.mentions, branch.at_least, strict=False):
            mention.score = math.log(probability or _LEAST_PROBABILITY)

    def _digit(self, count: int) -> list[int]:
        """The tokens of a count of one digit, without its end."""
        return self.job.prompt.count_answer(count)[
            : len(self.job.prompt.count_start) + 1
        ]
