"""The `Decoder` protocol, and what its implementations share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from spacy_padellm.checks import is_whole
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.branches import CountBranches
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS, PromptTokens

# numbers at a time that a CPU's cache holds while several passes go over them
_CACHED_LOGITS = 1 << 18

# what a decoder found in a text, or why it could not read it
DecodeResult = list[Mention] | Exception


COUNTS_AND_MENTIONS = "counts, then mentions"  # what the paper's models answer


class Decoder(Protocol):
    """Finds mentions of labels in texts."""

    @property
    def needs_weights(self) -> bool:
        """Whether it runs the model in this process; if not, it is given no `lm`."""
        ...

    @property
    def output_format(self) -> str:
        """What a model must have been trained to answer, in words."""
        ...

    @property
    def default_threshold(self) -> float:
        """The score from which a mention counts where nothing else is set, in 0..1."""
        ...

    def stream(
        self,
        lm: LanguageModel | None,
        prompt: PromptTokens,
        texts: Iterable[str],
        labels: Mapping[str, str],
        *,
        forced: ForcedOutputs | None = None,
    ) -> Iterator[DecodeResult]:
        """Decode texts as they come, looking ahead no further than it pays.

        lm (LanguageModel | None): The model.
        prompt (PromptTokens): The prompt, bound to the model's tokenizer.
        texts (Iterable[str]): The texts, none of them blank.
        labels (Mapping[str, str]): Label -> its name in the prompt.
        forced (ForcedOutputs | None): Answers to give instead of the model's, which
            still does all its work: to measure speed with any weights.
        YIELDS (list[Mention] | Exception): For each text, in order, its mentions by
            label in the order of `labels`, then by index; or what went wrong with it,
            such as a ValueError for a text that does not fit the model's context.
        RAISES (Exception): What no text can be decoded for.
        """
        ...


def decode(
    decoder: Decoder,
    lm: LanguageModel | None,
    prompt: PromptTokens,
    texts: Sequence[str],
    labels: Mapping[str, str],
    *,
    forced: ForcedOutputs | None = None,
) -> list[list[Mention]]:
    """Decode texts at once; see `Decoder.stream`.

    RAISES (Exception): What went wrong with the first text that failed.
    """
    found = []
    for mentions in decoder.stream(lm, prompt, texts, labels, forced=forced):
        if isinstance(mentions, Exception):
            raise mentions
        found.append(mentions)
    return found


@dataclass(slots=True)
class Limits:
    """Counts how often a decoder's limits were hit, for one log line."""

    max_mentions: int
    max_mention_tokens: int
    counts: int = 0
    mentions: int = 0

    def capped(self, count: int) -> int:
        """A count, cut to `max_mentions`."""
        if count > self.max_mentions:
            self.counts += 1
        return min(count, self.max_mentions)

    def report(self) -> None:
        if self.counts:
            logger.warning(Warnings.W101.format(n=self.counts, limit=self.max_mentions))
        if self.mentions:
            limit = self.max_mention_tokens
            logger.warning(Warnings.W102.format(n=self.mentions, limit=limit))


def check_settings(**settings: int | None) -> None:
    """Check a decoder's settings.

    RAISES (ValueError): If one is given and is no positive whole number.
    """
    for name, value in settings.items():
        if value is not None and not (is_whole(value) and value >= 1):
            least = "a whole number, at least 1"
            raise ValueError(Errors.P120.format(name=name, value=value, least=least))


def check_context(branches: CountBranches, context: int) -> None:
    """Check that a text's prompts fit the model.

    branches (CountBranches): The text's.
    context (int): The longest sequence in tokens that the model takes.
    RAISES (ValueError): If they do not.
    """
    label = max(map(len, branches.labels))
    # room for a count, an index and one token of a mention at the least
    room = context - 2 * MAX_COUNT_TOKENS - len(branches.root)
    tokens = branches.text[1] - branches.text[0]
    if label > room + tokens:
        # a single label stands in the root as a whole
        label += len(branches.root) - branches.text[1]
        raise ValueError(Errors.P152.format(tokens=label, context=context))
    if label > room:
        raise ValueError(Errors.P121.format(tokens=tokens, context=context))


def likeliest(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The likeliest next tokens.

    logits (torch.Tensor): (positions, vocabulary).
    RETURNS (tuple[torch.Tensor, torch.Tensor]): Tokens (int64, (positions,)) and their
        log-probabilities (float32, (positions,)), NaN where logits are no numbers.
    """
    if logits.device.type == "cpu":
        pieces = logits.split(max(1, _CACHED_LOGITS // logits.shape[-1]))
        read = [_likeliest(piece) for piece in pieces]
        tokens, scores = (torch.cat(found) for found in zip(*read, strict=True))
        return tokens, scores
    return _likeliest(logits)


def _likeliest(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    logits = logits.float()
    best, tokens = logits.max(dim=-1)
    # half the time of torch's logsumexp, which looks for the maximum again
    return tokens, -(logits - best[:, None]).exp_().sum(dim=-1).log()
