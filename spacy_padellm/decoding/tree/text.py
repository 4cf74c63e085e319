"""One text's token tree while it is decoded: its tags, its counts, its mentions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from spacy_padellm.decoding.tree.count_branch import CountBranch
from spacy_padellm.decoding.tree.counts import CountGrower
from spacy_padellm.decoding.tree.mentions import MentionBranch, MentionGrower
from spacy_padellm.decoding.tree.planting import MentionPlanter
from spacy_padellm.decoding.tree.step import PassResult
from spacy_padellm.decoding.tree.tag_scores import share_scores
from spacy_padellm.decoding.tree.tags import (
    TaggedMention,
    TagSet,
    TextTags,
    read_text_tags,
)
from spacy_padellm.decoding.tree.text_job import TextJob
from spacy_padellm.mention.mention import Mention, TextMentions
from spacy_padellm.tree.token_tree import ROOT


class TreeText:
    """Grows the tree of one text, pass by pass.

    job (TextJob): The text.
    tree (TokenTree): Its tree.
    request (PassRequest): The outputs that it needs from the next pass.
    """

    def __init__(self, job: TextJob) -> None:
        """Start the tree with the text, and with the labels unless its tags come first.

        job (TextJob): The text.
        """
        self.job, self.tree, self.request = job, job.tree, job.request
        self._text_tags = TextTags()
        self._sure: list[str] = []  # labels whose mentions are those of the tags
        self._drafts: dict[str, list[TaggedMention]] = {}
        self._mentions = MentionGrower(job)
        self._counts = CountGrower(job, MentionPlanter(job, self._mentions))
        self._counting: list[CountBranch] = []
        self._generating: list[MentionBranch] = []
        self._done: list[MentionBranch] = []
        # label -> the probabilities of at least 1, 2, ... mentions, if known
        self._at_least: dict[str, Sequence[float]] = {}
        self.tree.extend(ROOT, job.count_prompts.root)
        if not job.tags_first:
            for label, ids in self._label_prompts():
                self._counting.append(self._counts.plant(label, ids))

    def misfits(self, tokens: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
        """See `MentionGrower.misfits`; for all mentions in the tree."""
        planted = [mention for count in self._counting for mention in count.mentions]
        for branch in [*self._generating, *planted]:
            yield from self._mentions.misfits(branch, tokens)

    def advance(self, result: PassResult, *, draft_tokens: int) -> bool:
        """Take the outputs of a pass, and extend the tree for the next one.

        result (PassResult): The outputs.
        draft_tokens (int): Tokens of each mention to draft at most.
        RETURNS (bool): Whether the text needs another pass.
        RAISES (ValueError): If the model's context has no room for a mention.
        """
        tagged = self.request.tagged
        self.request.clear()
        if tagged and self.job.tags:
            self._text_tags = self._read_text_tags(tagged, result, self.job.tags)
            self._drafts = self._text_tags.mentions if draft_tokens else {}
            if self.job.tags_first:
                return self._plant_unsure()
        counting = []
        for count in self._counting:
            drafts = self._drafts.get(count.label, ())
            self._counts.advance(count, result, drafts)
            if count.pending is not None:
                counting.append(count)
            else:
                self._generating += count.mentions
                if count.at_least:
                    self._at_least[count.label] = count.at_least
        self._counting = counting
        generating = []
        for mention in self._generating:
            if self._mentions.advance(mention, result, draft_tokens=draft_tokens):
                generating.append(mention)
            else:
                self._done.append(mention)
        self._generating = generating
        return bool(self._counting or self._generating)

    def mentions(self) -> TextMentions:
        """The mentions, by label, then by index, and how many are to be expected."""
        weight = self.job.selection.tag_weight
        tagged = {
            label: self._strings(self._short_enough(mentions))
            for label, mentions in self._text_tags.mentions.items()
            if weight and label not in self._sure
        }
        order = {label: number for number, label in enumerate(self.job.labels)}
        mentions = share_scores(
            self._generated(order),
            tagged,
            weight=weight,
            max_mentions=self.job.limits.max_mentions,
            cuts=self.job.cuts,
        )
        for label in self._sure:
            strings = self._strings(self._text_tags.mentions[label])
            mentions += [
                Mention(label, index, string, score, by_tags=True)
                for index, (string, score) in enumerate(strings, start=1)
            ]
            scores = sorted((score for _, score in strings), reverse=True)
            # one more than those, if the tags are wrong somewhere
            self._at_least[label] = [*scores, 1 - self._text_tags.sure[label]]
        mentions.sort(key=lambda mention: order[mention.label])
        return TextMentions(mentions, self._at_least)

    def _generated(self, order: Mapping[str, int]) -> list[Mention]:
        """The generated mentions, by label, then by index."""
        self._done.sort(key=lambda branch: (order[branch.label], branch.index))
        strings = self.job.prompt.strings.decode_mentions(
            [branch.generated for branch in self._done]
        )
        return [
            Mention(
                branch.label, branch.index, string, math.exp(branch.log_probability)
            )
            for branch, string in zip(self._done, strings, strict=True)
        ]

    def _short_enough(self, tagged: Sequence[TaggedMention]) -> list[TaggedMention]:
        """The tagged mentions that do not exceed the limit of mentions."""
        longest = self.job.limits.max_mention_tokens
        return [mention for mention in tagged if len(mention.ids) <= longest]

    def _strings(self, tagged: Sequence[TaggedMention]) -> list[tuple[str, float]]:
        """The strings and scores of tagged mentions."""
        decode = self.job.prompt.strings.decode
        return [(decode(mention.ids).strip(), mention.score) for mention in tagged]

    def _read_text_tags(
        self, tagged: range, result: PassResult, tags: TagSet
    ) -> TextTags:
        """Read mentions from the tags of the text's tokens."""
        tokens = [self.job.count_prompts.root[slot] for slot in tagged]
        pieces = self.job.prompt.strings.characters(tokens)
        return read_text_tags(
            tokens, pieces, result.tags, tags.labels, begins=tags.begins
        )

    def _label_prompts(self) -> Iterator[tuple[str, list[int]]]:
        """Each label with the tokens of its prompt after the root."""
        return zip(self.job.labels, self.job.count_prompts.labels, strict=True)

    def _plant_unsure(self) -> bool:
        """Add the prompts of labels whose tags are not sure, with the tags as drafts.

        RETURNS (bool): Whether there are any.
        """
        for label, ids in self._label_prompts():
            if self._is_sure(label):
                self._sure.append(label)
            else:
                tagged = self._drafts.get(label, ())
                self._counting.append(self._counts.plant(label, ids, tagged))
        return bool(self._counting)

    def _is_sure(self, label: str) -> bool:
        """Whether the tags replace the prompts of a label."""
        # labels that the model was not trained with have no tag
        sure = self._text_tags.sure.get(label, 0.0)
        least = self.job.selection.sure_tag_probability
        if sure < least or least == 1:
            return False
        mentions, limits = self._text_tags.mentions[label], self.job.limits
        if mentions and not (self.job.tags and self.job.tags.as_trained):
            return False  # the mentions may belong to another label of the training
        longest = max((len(mention.ids) for mention in mentions), default=0)
        return (
            len(mentions) <= limits.max_mentions and longest < limits.max_mention_tokens
        )
