"""`TreeDecoder`: each text is encoded once, all its labels and mentions in one tree.

Pass 1 reads text and labels and gives the counts' first tokens. Pass 2 reads the
counts and all mention prompts: it gives each mention's first token and shows whether
the count was complete. The passes after it read the rest of the mentions, several
tokens at once where a draft from the text holds. Tokens and probabilities are those
of greedy decoding of separate sequences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from spacy_padellm.decoding.base import Forced, Limits, check_context, check_limits
from spacy_padellm.decoding.batch import BatchDecoder
from spacy_padellm.decoding.support import warn_unsupported, why_no_tree
from spacy_padellm.decoding.tree_run import TreeRun
from spacy_padellm.lm import LanguageModel
from spacy_padellm.mentions import Mention
from spacy_padellm.prompt import PromptTokens


@dataclass(frozen=True, slots=True)
class TreeDecoder:
    """Decode all mentions of all labels of many texts in a few passes.

    max_mentions (int): Mentions of one label in one text at the most.
    max_mention_tokens (int): Tokens of a mention at the most.
    max_batch_tokens (int): Tokens of the first pass over a batch of texts, padding
        included; one text may exceed it.
    draft_tokens (int): Tokens to draft from the text in each pass; 0 drafts nothing.
    """

    max_mentions: int = 32
    max_mention_tokens: int = 64
    max_batch_tokens: int = 1024
    draft_tokens: int = 6

    def __post_init__(self) -> None:
        check_limits(self.max_mentions, self.max_mention_tokens)

    def __call__(
        self,
        lm: LanguageModel,
        prompt: PromptTokens,
        texts: Sequence[str],
        labels: Mapping[str, str],
        *,
        forced: Forced | None = None,
    ) -> list[list[Mention]]:
        """See `Decoder`."""
        branches = prompt.count_branches(texts, list(labels.values()))
        found: list[list[Mention]] = [[] for _ in texts]
        limits = Limits(self.max_mentions, self.max_mention_tokens)
        separate: list[int] = []
        sizes = []
        for index, branch in enumerate(branches):
            check_context(branch, lm)
            length = len(branch.root) + max(map(len, branch.labels))
            if reason := why_no_tree(lm, length + self.max_mention_tokens):
                warn_unsupported(lm, reason)
                separate.append(index)
            sizes.append(len(branch.root) + sum(map(len, branch.labels)))
        together = sorted(set(range(len(texts))) - set(separate), key=sizes.__getitem__)
        for batch in _batches(together, sizes, self.max_batch_tokens):
            run = TreeRun(
                lm,
                prompt,
                texts=[texts[index] for index in batch],
                branches=[branches[index] for index in batch],
                labels=labels,
                limits=limits,
                draft_tokens=self.draft_tokens,
                forced=forced,
            )
            mentions = run.decode()
            for index, text_mentions in zip(batch, mentions, strict=True):
                found[index] = text_mentions
        if separate:
            decoder = BatchDecoder(
                max_mentions=self.max_mentions,
                max_mention_tokens=self.max_mention_tokens,
            )
            rest = [texts[index] for index in separate]
            mentions = decoder(lm, prompt, rest, labels, forced=forced)
            for index, text_mentions in zip(separate, mentions, strict=True):
                found[index] = text_mentions
        limits.report()
        return found


def _batches(
    order: Sequence[int], sizes: Sequence[int], max_tokens: int
) -> Iterator[list[int]]:
    """Cut texts, sorted by size, into batches of at most `max_tokens`, padded."""
    batch: list[int] = []
    for index in order:
        if batch and sizes[index] * (len(batch) + 1) > max_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
