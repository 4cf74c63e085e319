"""The mentions of one text's token tree: drafted from the text, read, and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from spacy_padellm.decoding.base import Limits
from spacy_padellm.decoding.tree.copy_source import CopySource
from spacy_padellm.decoding.tree.step import Choice, PassRequest, PassResult
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.tree.token_tree import TokenTree


@dataclass(eq=False, slots=True)
class MentionBranch:
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


@dataclass(frozen=True, slots=True)
class MentionGrower:
    """Grows the mentions of one text pass by pass.

    tree (TokenTree): The text's.
    request (PassRequest): Takes what is asked of the next pass.
    prompt (PromptTokens): The prompt.
    source (CopySource): The text.
    limits (Limits): On counts and mentions.
    choice (Choice): How mentions are chosen.
    context (int): The longest sequence in tokens that the model takes.
    """

    tree: TokenTree
    request: PassRequest
    prompt: PromptTokens
    source: CopySource
    limits: Limits
    choice: Choice
    context: int

    def draft(self, branch: MentionBranch, ids: Sequence[int]) -> None:
        """Put in a draft of a mention that has no token yet; read after each."""
        room = min(
            self.limits.max_mention_tokens, self.context - self.tree.depth(branch.end)
        )
        # what follows the draft is a token of the mention too, and has a position
        branch.drafted = list(ids[: max(room - 2, 0)])
        if branch.drafted:
            last = self.tree.extend(branch.end, branch.drafted)
            self.request.read_draft(branch.end, last)

    def goes_on(
        self, branch: MentionBranch, result: PassResult, *, draft_tokens: int
    ) -> bool:
        """Take the next tokens of a mention, and ask for those after them.

        result (PassResult): What the last pass read.
        draft_tokens (int): Tokens to draft at most.
        RETURNS (bool): Whether it has any.
        """
        for offset in range(len(branch.drafted) + 1):
            token, score = self._next(branch, result, branch.read + offset)
            if token == self.prompt.eos:
                return False
            branch.generated.append(token)
            branch.score += score
            if self._is_too_long(branch):
                self.limits.mentions += 1
                return False
            if offset == len(branch.drafted) or token != branch.drafted[offset]:
                break
            branch.end += 1
        self._feed(branch, draft_tokens)
        return True

    def _next(
        self, branch: MentionBranch, result: PassResult, read: int
    ) -> tuple[int, float]:
        """A mention's next token and its log-probability."""
        token, score = result.tokens[read], result.scores[read]
        generated = branch.generated
        if branch.forced is not None:
            return branch.forced[len(generated)], score
        if not self.choice.from_text or self.source.fits(generated, token):
            return token, score
        allowed = self.source.allowed(generated)
        return result.pick(read, allowed) if allowed else (token, score)

    def _is_too_long(self, branch: MentionBranch) -> bool:
        if len(branch.generated) == self.limits.max_mention_tokens:
            return True
        # the position that the next token would be read at
        return self.tree.depth(branch.end) + 2 >= self.context

    def _feed(self, branch: MentionBranch, draft_tokens: int) -> None:
        """Put in the last token and a draft of the next ones; read after each."""
        room = min(
            self.limits.max_mention_tokens - len(branch.generated),
            self.context - self.tree.depth(branch.end) - 2,
        )
        size = min(draft_tokens, room - 1)
        branch.drafted = self.source.draft(branch.generated, size)
        ids = [branch.generated[-1], *branch.drafted]
        last = self.tree.extend(branch.end, ids)
        branch.end = last - len(branch.drafted)
        branch.read = self.request.read(branch.end)
        self.request.read_draft(branch.end, last)
