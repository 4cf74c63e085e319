"""One batch of texts, decoded as token trees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from spacy_padellm.decoding.base import Forced, Limits, greedy
from spacy_padellm.decoding.drafting import draft
from spacy_padellm.kv_cache import TreeCache
from spacy_padellm.lm import LanguageModel
from spacy_padellm.mentions import Mention
from spacy_padellm.prompt import CountBranches, PromptTokens
from spacy_padellm.tree import ROOT, TreeBatch


@dataclass(eq=False, slots=True)
class _MentionBranch:
    """A mention being generated.

    `end` is the slot of its last token that is sure, `read` the pass's read that
    shows what follows there; the reads after it show what follows the draft.
    """

    row: int
    text: int
    label: str
    index: int
    end: int
    read: int
    forced: list[int] | None
    generated: list[int] = field(default_factory=list)
    drafted: list[int] = field(default_factory=list)
    copies: bool = True  # no draft of it failed from its first token on
    score: float = 0.0  # log-probability of the generated tokens


@dataclass(eq=False, slots=True)
class _CountBranch:
    """A label whose count is being read, with the mentions of the count so far."""

    row: int
    text: int
    label: str
    start: int  # slot of the prompt's first token after the root
    end: int  # slot of its last one
    read: int
    forced: list[int] | None
    generated: list[int] = field(default_factory=list)
    guesses: list[_MentionBranch] = field(default_factory=list)


class TreeRun:
    """Grows the trees of one batch of texts pass by pass."""

    def __init__(
        self,
        lm: LanguageModel,
        prompt: PromptTokens,
        *,
        texts: Sequence[str],
        branches: Sequence[CountBranches],
        labels: Mapping[str, str],
        limits: Limits,
        draft_tokens: int,
        forced: Forced | None,
    ) -> None:
        self.lm = lm
        self.prompt = prompt
        self.texts = texts
        self.branches = branches
        self.labels = labels
        self.limits = limits
        self.draft_tokens = draft_tokens
        self.forced = forced
        sizes = [len(b.root) + sum(map(len, b.labels)) for b in branches]
        # room for the later passes of most texts
        capacity = max(sizes) + 64
        self.tree = TreeBatch(len(texts))
        self.cache = TreeCache(capacity)
        self.reads: list[tuple[int, int]] = []  # row, slot
        self.tokens: list[int] = []
        self.scores: list[float] = []
        self.done: list[_MentionBranch] = []

    def decode(self) -> list[list[Mention]]:
        """Run passes until every count and every mention is read.

        RETURNS (list[list[Mention]]): For each text, by label, then by index.
        """
        counting = self._plant_labels()
        generating: list[_MentionBranch] = []
        while counting or generating:
            self._pass()
            undecided = []
            for branch in counting:
                if self._count_goes_on(branch):
                    undecided.append(branch)
                else:
                    generating += branch.guesses
            counting = undecided
            generating = [b for b in generating if self._mention_goes_on(b)]
            self._drop_rows(counting, generating)
        return self._mentions()

    # One pass

    def _read(self, row: int, slot: int) -> int:
        """Ask for what follows a slot; gives the number of the read."""
        self.reads.append((row, slot))
        return len(self.reads) - 1

    def _pass(self) -> None:
        step = self.tree.advance()
        width = step.ids.shape[1]
        flat = [row * width + slot - step.start for row, slot in self.reads]
        with torch.inference_mode():
            logits = self.lm.logits(step, flat, cache=self.cache)
            tokens, scores = greedy(logits)
            # one transfer from the device a pass
            both = torch.stack((tokens.double(), scores.double())).cpu()
        self.tokens = both[0].long().tolist()
        self.scores = both[1].tolist()
        self.reads.clear()

    def _drop_rows(
        self, counting: Sequence[_CountBranch], generating: Sequence[_MentionBranch]
    ) -> None:
        """Let finished texts leave the batch once they are half of it."""
        live = sorted({b.row for b in counting} | {b.row for b in generating})
        if not live or len(live) > self.tree.rows // 2:
            return
        self.tree.select(live)
        self.cache.select(torch.tensor(live, device=self.lm.device))
        renumbered = {row: new for new, row in enumerate(live)}
        for mention in generating:
            mention.row = renumbered[mention.row]
        for count in counting:
            count.row = renumbered[count.row]
            for guess in count.guesses:
                guess.row = count.row
        self.reads = [(renumbered[row], slot) for row, slot in self.reads]

    # Counts

    def _plant_labels(self) -> list[_CountBranch]:
        counting = []
        for row, branches in enumerate(self.branches):
            root = self.tree.extend(row, ROOT, branches.root)
            for label, ids in zip(self.labels, branches.labels, strict=True):
                end = self.tree.extend(row, root, ids)
                forced = self._forced_count(row, label)
                branch = _CountBranch(
                    row=row,
                    text=row,
                    label=label,
                    start=end - len(ids) + 1,
                    end=end,
                    read=self._read(row, end),
                    forced=forced,
                )
                counting.append(branch)
        return counting

    def _forced_count(self, text: int, label: str) -> list[int] | None:
        if self.forced is None:
            return None
        return self.forced.count(self.texts[text], label)

    def _count_goes_on(self, branch: _CountBranch) -> bool:
        """Take the next token of a count; its guesses stand if it was complete."""
        token = self.tokens[branch.read]
        if branch.forced is not None:
            token = branch.forced[len(branch.generated)]
        branch.generated.append(token)
        count, complete = self.prompt.read_count(branch.generated)
        if complete:
            # the guesses were planted for the digits before this token
            if count:
                self.limits.capped(count)
            else:
                branch.guesses = []
            return False
        self._plant_mentions(branch, count)
        return True

    def _plant_mentions(self, branch: _CountBranch, count: int) -> None:
        """Guess that the count is complete: ask for its mentions and for its end."""
        generated, row = branch.generated, branch.row
        branch.guesses = []
        read_at = None
        if count:
            asked = min(count, self.limits.max_mentions)
            text, name = self.texts[branch.text], self.labels[branch.label]
            prompts = self.prompt.mention_branches(text, name, asked, count)
            stem = branch.end
            if prompts.keep is not None:
                stem = self._path_slot(branch, prompts.keep - 1)
            if prompts.stem:
                first = self.tree.filled(row)
                stem = self.tree.extend(row, stem, prompts.stem)
                if prompts.keep is None and _starts(prompts.stem, generated):
                    read_at = first + len(generated) - 1
            for n, ids in enumerate(prompts.mentions, start=1):
                end = self.tree.extend(row, stem, ids)
                branch.guesses.append(
                    _MentionBranch(
                        row=row,
                        text=branch.text,
                        label=branch.label,
                        index=n,
                        end=end,
                        read=self._read(row, end),
                        forced=self._forced_mention(branch.text, branch.label, n),
                    )
                )
        if read_at is None:
            # the prompt's tokens for the count are others than the model's
            read_at = self.tree.extend(row, branch.end, generated)
        branch.read = self._read(row, read_at)

    def _path_slot(self, branch: _CountBranch, place: int) -> int:
        """Slot of the token at this place of a label's prompt."""
        root = len(self.branches[branch.text].root)
        return place if place < root else branch.start + place - root

    # Mentions

    def _forced_mention(self, text: int, label: str, index: int) -> list[int] | None:
        if self.forced is None:
            return None
        return self.forced.mention(self.texts[text], label, index)

    def _mention_goes_on(self, branch: _MentionBranch) -> bool:
        """Take the next tokens of a mention, and ask for those after them."""
        for offset in range(len(branch.drafted) + 1):
            token = self.tokens[branch.read + offset]
            if branch.forced is not None:
                token = branch.forced[len(branch.generated)]
            if token == self.prompt.eos:
                self.done.append(branch)
                return False
            branch.generated.append(token)
            branch.score += self.scores[branch.read + offset]
            if self._is_too_long(branch):
                self.limits.mentions += 1
                self.done.append(branch)
                return False
            if offset == len(branch.drafted):
                break
            if token != branch.drafted[offset]:
                branch.copies = offset > 0
                break
            branch.end += 1
        self._feed(branch)
        return True

    def _is_too_long(self, branch: _MentionBranch) -> bool:
        if len(branch.generated) == self.limits.max_mention_tokens:
            return True
        # the position that the next token would be read at
        return self.tree.depth(branch.row, branch.end) + 2 >= self.lm.context

    def _feed(self, branch: _MentionBranch) -> None:
        """Put in the last token and a draft of the next ones; read after each."""
        text = self.branches[branch.text]
        start, end = text.text
        room = min(
            self.limits.max_mention_tokens - len(branch.generated),
            self.lm.context - self.tree.depth(branch.row, branch.end) - 2,
        )
        size = min(self.draft_tokens, room - 1) if branch.copies else 0
        branch.drafted = draft(text.root[start:end], branch.generated, size)
        ids = [branch.generated[-1], *branch.drafted]
        last = self.tree.extend(branch.row, branch.end, ids)
        branch.end = last - len(branch.drafted)
        branch.read = self._read(branch.row, branch.end)
        for slot in range(branch.end + 1, last + 1):
            self._read(branch.row, slot)

    def _mentions(self) -> list[list[Mention]]:
        order = {label: place for place, label in enumerate(self.labels)}
        self.done.sort(key=lambda b: (b.text, order[b.label], b.index))
        strings = self.prompt.decode_mentions([b.generated for b in self.done])
        found: list[list[Mention]] = [[] for _ in self.texts]
        for branch, string in zip(self.done, strings, strict=True):
            score = math.exp(branch.score)
            mention = Mention(branch.label, branch.index, string, score)
            found[branch.text].append(mention)
        return found


def _starts(ids: Sequence[int], beginning: Sequence[int]) -> bool:
    return list(ids[: len(beginning)]) == list(beginning)
