"""Limits of decoding: settings, the model's context, counts and mentions."""

from __future__ import annotations

from dataclasses import dataclass

from spacy_padellm.checks import is_whole
from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.prompt.branches import CountPrompts
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS


@dataclass(slots=True)
class Limits:
    """A decoder's limits, and how often they were reached.

    max_mentions (int): Most mentions of one label in one text.
    max_mention_tokens (int): Most tokens of a mention.
    counts (int): How many counts were cut to `max_mentions`.
    mentions (int): How many mentions were cut at `max_mention_tokens`.
    """

    max_mentions: int
    max_mention_tokens: int
    counts: int = 0
    mentions: int = 0

    def capped(self, count: int) -> int:
        """Cut a count to `max_mentions`.

        count (int): The count.
        """
        if count > self.max_mentions:
            self.counts += 1
        return min(count, self.max_mentions)

    def add(self, other: Limits) -> None:
        """Add the counts of other limits.

        other (Limits): The limits of another part of the work.
        """
        self.counts += other.counts
        self.mentions += other.mentions

    def report(self) -> None:
        """Log a warning for each limit that was reached."""
        if self.counts:
            logger.warning(Warnings.W101.format(n=self.counts, limit=self.max_mentions))
        if self.mentions:
            limit = self.max_mention_tokens
            logger.warning(Warnings.W102.format(n=self.mentions, limit=limit))


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
    tokens = prompts.text[1] - prompts.text[0]
    if label > room + tokens:
        # the prompt of a single label is entirely in the root
        label += len(prompts.root) - prompts.text[1]
        raise ValueError(Errors.P152.format(tokens=label, context=context))
    if label > room:
        raise ValueError(Errors.P121.format(tokens=tokens, context=context))
