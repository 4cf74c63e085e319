"""One text's token tree as it is decoded: its tags, its counts, then its mentions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from spacy_padellm.decoding.base import Limits
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.tree.copy_source import CopySource
from spacy_padellm.decoding.tree.counts import CountBranch, CountGrower
from spacy_padellm.decoding.tree.mentions import MentionBranch, MentionGrower
from spacy_padellm.decoding.tree.step import Choice, PassRequest, PassResult
from spacy_padellm.decoding.tree.tags import (
    Tagged,
    Tagging,
    TagSet,
    read_tags,
    share_scores,
)
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.branches import CountBranches
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.tree.token_tree import ROOT, TokenTree


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
        forced: ForcedOutputs | None,
        tags: TagSet | None = None,
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
        forced (ForcedOutputs | None): Answers to give instead of the model's.
        tags (TagSet | None): What the text's tokens are tagged with, if they are.
        tags_first (bool): Whether labels wait for the tags, which then draft their
            counts as well, or give their mentions.
        """
        self.tree = TokenTree(bidirectional_span=branches.bidirectional_span)
        self.request = PassRequest(tagged=range(*branches.text) if tags else range(0))
        self._tags = tags
        self._tags_first = tags_first
        self._tagging = Tagging()
        self._sure: list[str] = []  # labels whose mentions are as they were tagged
        self._drafts: dict[str, list[Tagged]] = {}
        self._prompt = prompt
        self._branches = branches
        self._labels = labels
        self._choice = choice if forced is None else Choice()
        self._mentions = MentionGrower(
            self.tree,
            self.request,
            prompt,
            CopySource(
                branches.root[slice(*branches.text)], prompt.strings, prompt.eos
            ),
            limits,
            self._choice,
            context,
        )
        root = self.tree.extend(ROOT, branches.root)
        self._counts = CountGrower(text, root, labels, forced, self._mentions)
        self._counting: list[CountBranch] = []
        self._generating: list[MentionBranch] = []
        self._done: list[MentionBranch] = []
        if not tags_first:
            for label, ids in zip(labels, branches.labels, strict=True):
                self._counting.append(self._counts.plant(label, ids))

    def take(self, result: PassResult, *, draft_tokens: int) -> bool:
        """Take what a pass read, and plant what the next one shall read.

        result (PassResult): What it read.
        draft_tokens (int): Tokens of each mention to draft at most.
        RETURNS (bool): Whether there is anything left to read.
        RAISES (ValueError): If the model's context has no room for a mention.
        """
        tagged = self.request.tagged
        self.request.clear()
        if tagged and self._tags:
            tokens = [self._branches.root[slot] for slot in tagged]
            pieces = self._prompt.strings.pieces(tokens)
            self._tagging = read_tags(
                tokens,
                pieces,
                result.tags,
                self._tags.labels,
                begins=self._tags.begins,
            )
            self._drafts = self._tagging.mentions if draft_tokens else {}
            if self._tags_first:
                return self._plant_tagged()
        undecided = []
        for count in self._counting:
            drafts = self._drafts.get(count.label, ())
            if self._counts.goes_on(count, result, drafts):
                undecided.append(count)
            else:
                self._generating += count.guesses
        self._counting = undecided
        going = []
        for mention in self._generating:
            if self._mentions.goes_on(mention, result, draft_tokens=draft_tokens):
                going.append(mention)
            else:
                self._done.append(mention)
        self._generating = going
        return bool(self._counting or self._generating)

    def mentions(self) -> list[Mention]:
        """The mentions, by label, then by index."""
        order = {label: place for place, label in enumerate(self._labels)}
        self._done.sort(key=lambda branch: (order[branch.label], branch.index))
        strings = self._prompt.strings.decode_mentions(
            [b.generated for b in self._done]
        )
        generated = [
            Mention(branch.label, branch.index, string, math.exp(branch.score))
            for branch, string in zip(self._done, strings, strict=True)
        ]
        weight = self._choice.tag_weight
        asked = {
            label: self._strings(self._short_enough(found))
            for label, found in self._tagging.mentions.items()
            if weight and label not in self._sure
        }
        shared = share_scores(
            generated, asked, weight=weight, limits=self._mentions.limits
        )
        for label in self._sure:
            found = self._strings(self._tagging.mentions[label])
            shared += [
                Mention(label, index, string, score)
                for index, (string, score) in enumerate(found, start=1)
            ]
        return sorted(shared, key=lambda mention: order[mention.label])

    def _short_enough(self, tagged: Sequence[Tagged]) -> list[Tagged]:
        """Those that are no longer than mentions may be."""
        longest = self._mentions.limits.max_mention_tokens
        return [mention for mention in tagged if len(mention.ids) <= longest]

    def _strings(self, tagged: Sequence[Tagged]) -> list[tuple[str, float]]:
        """The string and the score of mentions that were tagged."""
        decode = self._prompt.strings.decode
        return [(decode(mention.ids).strip(), mention.score) for mention in tagged]

    def _plant_tagged(self) -> bool:
        """Plant the labels whose tags are not sure, with the counts of their tags.

        RETURNS (bool): Whether there are any.
        """
        for label, ids in zip(self._labels, self._branches.labels, strict=True):
            if self._is_sure(label):
                self._sure.append(label)
            else:
                branch = self._counts.plant(label, ids)
                self._counts.guess(branch, self._drafts.get(label, ()))
                self._counting.append(branch)
        return bool(self._counting)

    def _is_sure(self, label: str) -> bool:
        """Whether a label's mentions are as they are tagged."""
        # labels that the model was not taught have no tag
        sure = self._tagging.sure.get(label, 0.0)
        least = self._choice.sure_tag_probability
        if sure < least or least == 1:
            return False
        found, limits = self._tagging.mentions[label], self._mentions.limits
        if found and not (self._tags and self._tags.as_taught):
            return False  # another label that was taught may have a better claim
        longest = max((len(mention.ids) for mention in found), default=0)
        return len(found) <= limits.max_mentions and longest < limits.max_mention_tokens
