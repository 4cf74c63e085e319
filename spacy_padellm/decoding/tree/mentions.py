"""The mentions of one text's token tree: drafted, generated and verified."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from spacy_padellm.decoding.tree.step import PassResult
from spacy_padellm.decoding.tree.text_job import TextJob


@dataclass(eq=False, slots=True)
class MentionBranch:
    """A mention that is being generated.

    label (str): Its label.
    index (int): Its number within the label, from 1.
    end (int): Slot of its last token that is not a draft.
    output (int): Number of the next pass's output that gives the token after `end`. The
        outputs after it give the tokens after each token of the draft.
    forced (list[int] | None): Tokens to use instead of the model's.
    generated (list[int]): Its tokens so far.
    drafted (list[int]): The tokens of the draft.
    log_probability (float): That of its tokens, and of the count's reaching
        `index`.
    """

    label: str
    index: int
    end: int
    output: int
    forced: list[int] | None
    generated: list[int] = field(default_factory=list)
    drafted: list[int] = field(default_factory=list)
    log_probability: float = 0.0


@dataclass(frozen=True, slots=True)
class MentionGrower:
    """Grows the mentions of one text, pass by pass.

    job (TextJob): The text.
    """

    job: TextJob

    def draft(self, branch: MentionBranch, ids: Sequence[int]) -> None:
        """Add a draft of a mention that has no tokens yet."""
        room = min(
            self.job.limits.max_mention_tokens,
            self.job.context - self.job.tree.depth(branch.end),
        )
        # the token after the draft needs a position, too
        branch.drafted = list(ids[: max(room - 2, 0)])
        if branch.drafted:
            last = self.job.tree.extend(branch.end, branch.drafted)
            self.job.request.ask_draft(branch.end, last)

    def advance(
        self, branch: MentionBranch, result: PassResult, *, draft_tokens: int
    ) -> bool:
        """Take a mention's next tokens from a pass, and ask for the tokens after them.

        result (PassResult): The outputs of the last pass.
        draft_tokens (int): Tokens to draft at most.
        RETURNS (bool): Whether the mention needs another pass.
        """
        for offset in range(len(branch.drafted) + 1):
            token, log_probability = self._next(branch, result, branch.output + offset)
            if token == self.job.prompt.eos:
                return False
            branch.generated.append(token)
            branch.log_probability += log_probability
            long, full = self._is_too_long(branch), self._is_full(branch)
            if long or full:
                self.job.cuts.note_answer(cut=True, full=not long)
                return False
            if offset == len(branch.drafted) or token != branch.drafted[offset]:
                break
            branch.end += 1
        self._feed(branch, draft_tokens)
        return True

    def misfits(
        self, branch: MentionBranch, tokens: Sequence[int]
    ) -> Iterator[tuple[int, list[int]]]:
        """The outputs whose most likely token would leave the strings of the text.

        tokens (Sequence[int]): The most likely token of each output of the pass.
        YIELDS (tuple[int, list[int]]): An output's number, and the tokens that fit.
        """
        if branch.forced is not None or not self.job.selection.from_text:
            return
        generated = list(branch.generated)
        for offset in range(len(branch.drafted) + 1):
            output = branch.output + offset
            token = tokens[output]
            fits = self.job.source.fits(generated, token)
            if not fits and (allowed := self.job.source.allowed(generated)):
                yield output, allowed
            if offset == len(branch.drafted) or (
                fits and token != branch.drafted[offset]
            ):
                return
            generated.append(branch.drafted[offset])

    def _next(
        self, branch: MentionBranch, result: PassResult, output: int
    ) -> tuple[int, float]:
        """A mention's next token and its log-probability."""
        token, log_probability = result.tokens[output], result.log_probabilities[output]
        generated = branch.generated
        if branch.forced is not None:
            return branch.forced[len(generated)], log_probability
        return result.picks.get(output, (token, log_probability))

    def _is_too_long(self, branch: MentionBranch) -> bool:
        return len(branch.generated) == self.job.limits.max_mention_tokens

    def _is_full(self, branch: MentionBranch) -> bool:
        """Whether the model's context has no room for a mention's next token."""
        # the next token would need a position, too
        return self.job.tree.depth(branch.end) + 2 >= self.job.context

    def _feed(self, branch: MentionBranch, draft_tokens: int) -> None:
        """Add the last token and a draft of the next ones to the tree."""
        room = min(
            self.job.limits.max_mention_tokens - len(branch.generated),
            self.job.context - self.job.tree.depth(branch.end) - 2,
        )
        size = min(draft_tokens, room - 1)
        branch.drafted = self.job.source.draft(branch.generated, size)
        ids = [branch.generated[-1], *branch.drafted]
        last = self.job.tree.extend(branch.end, ids)
        branch.end = last - len(branch.drafted)
        branch.output = self.job.request.ask(branch.end)
        self.job.request.ask_draft(branch.end, last)
