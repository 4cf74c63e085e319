"""Limits of decoding: settings, the model's context, counts and mentions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spacy_padellm.checks import is_whole
from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.prompt.branches import CountPrompts
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS


@dataclass(frozen=True, slots=True)
class Limits:
    """A decoder's limits.

    max_mentions (int): Most mentions of one label in one text.
    max_mention_tokens (int): Most tokens of a mention.
    """

    max_mentions: int
    max_mention_tokens: int


@dataclass(slots=True)
class Cuts:
    """How often a decoder's limits were reached.

    counts (int): How many counts were cut to `max_mentions`.
    answers (int): How many mentions, or answers with several of them, were cut at their
        limit of tokens.
    full (int): How many were cut where the model's context ended.
    """

    counts: int = 0
    answers: int = 0
    full: int = 0

    def note_count(self, count: int, max_mentions: int) -> None:
        """Note a count, which is cut if it is over the limit."""
        self.counts += count > max_mentions

    def note_answer(self, *, cut: bool, full: bool) -> None:
        """Note an answer, which may be cut.

        cut (bool): Whether it reached its limit.
        full (bool): Whether the context is the limit.
        """
        self.answers += cut and not full
        self.full += cut and full

    def add(self, other: Cuts) -> None:
        """Add the cuts of another part of the work."""
        self.counts += other.counts
        self.answers += other.answers
        self.full += other.full

    def report(self, limits: Limits) -> None:
        """Log a warning for each limit that was reached; an answer is one mention."""
        self.report_most(limits.max_mentions)
        if self.answers:
            limit = limits.max_mention_tokens
            logger.warning(Warnings.W102.format(n=self.answers, limit=limit))

    def report_most(self, max_mentions: int) -> None:
        """Log a warning if counts were cut, and one if the context was full."""
        if self.counts:
            logger.warning(Warnings.W101.format(n=self.counts, limit=max_mentions))
        if self.full:
            logger.warning(Warnings.W980.format(n=self.full))


def mention_room(max_mention_tokens: int, context: int) -> Callable[[int], int]:
    """The room for a count, an index and a mention; see `Sized.answer_room`.

    max_mention_tokens (int): Most tokens of a mention. At most an eighth of the context
        is kept free for it: shorter windows would cost more than such mentions.
    context (int): The longest sequence in tokens that the model takes.
    """
    tokens = 2 * MAX_COUNT_TOKENS + min(max_mention_tokens, context // 8)
    return lambda text_tokens: tokens


def check_limits(**settings: int | None) -> None:
    """Check that a decoder's settings are positive whole numbers, or None.

    settings (int | None): Setting -> value.
    RAISES (ValueError): If one is not.
    """
    for name, value in settings.items():
        if value is not None and not (is_whole(value) and value >= 1):
            least = "a whole number, at least 1"
            raise ValueError(Errors.P120.format(name=name, value=value, least=least))


def check_context(prompts: CountPrompts, context: int) -> None:
    """Check that a text's prompts fit the model.

    prompts (CountPrompts): The text's count prompts.
    context (int): The longest sequence in tokens that the model takes.
    RAISES (ValueError): If they do not fit.
    """
    label = max(map(len, prompts.labels))
    # leave room for a count, an index and at least one token of a mention
    room = context - 2 * MAX_COUNT_TOKENS - len(prompts.root)
    tokens = prompts.text_tokens
    if label > room + tokens:
        # the prompt of a single label is entirely in the root
        label += len(prompts.root) - prompts.text[1]
        raise ValueError(Errors.P152.format(tokens=label, context=context))
    if label > room:
        raise ValueError(Errors.P121.format(tokens=tokens, context=context))
