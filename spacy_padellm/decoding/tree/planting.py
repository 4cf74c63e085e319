"""Adds the mention prompts of a count to one text's token tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.tree.mentions import MentionBranch, MentionGrower
from spacy_padellm.decoding.tree.tags import TaggedMention
from spacy_padellm.errors import Errors
from spacy_padellm.prompt.branches import MentionBranches


@dataclass(frozen=True, slots=True)
class MentionPlanter:
    """Adds mentions to the tree of one text.

    text (str): The text.
    root (int): Slot of the last token that all labels share. The root fills the first
        slots, so a token of it has its index as its slot.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    forced (ForcedOutputs | None): Answers to use instead of the model's.
    grower (MentionGrower): Grows the mentions of the tree.
    """

    text: str
    root: int
    labels: Mapping[str, str]
    forced: ForcedOutputs | None
    grower: MentionGrower

    def plant(
        self,
        label: str,
        count: int,
        generated: Sequence[int],
        tagged: Sequence[TaggedMention],
        *,
        prompt_start: int,
        prompt_end: int,
    ) -> tuple[list[MentionBranch], int | None]:
        """Add the mentions of a count, and ask for their first tokens.

        label (str): The label.
        count (int): The count, at least 1.
        generated (Sequence[int]): The tokens of the count.
        tagged (Sequence[TaggedMention]): The mentions of the tags, drafts by index.
        prompt_start, prompt_end (int): Slots of the first and last token of the label's
            prompt after the root.
        RETURNS (tuple[list[MentionBranch], int | None]): The mentions, and the slot of
            the last token of `generated`, None if the prompts do not contain it.
        RAISES (ValueError): If the model's context has no room for a mention.
        """
        tree = self.grower.tree
        number = min(count, self.grower.limits.max_mentions)
        prompts = self.grower.prompt.mention_branches(
            self.text, self.labels[label], number, count
        )
        stem = prompt_end
        if prompts.keep is not None:
            last = prompts.keep - 1  # index in the label's prompt
            stem = last if last <= self.root else prompt_start + last - self.root - 1
        self._check_room(stem, prompts)
        count_end = None
        if prompts.stem:
            first = tree.filled
            stem = tree.extend(stem, prompts.stem)
            if prompts.keep is None and _begins(prompts.stem, generated):
                count_end = first + len(generated) - 1
        mentions = [
            self._plant_one(label, index, tree.extend(stem, ids), tagged)
            for index, ids in enumerate(prompts.mentions, start=1)
        ]
        return mentions, count_end

    def _check_room(self, stem: int, prompts: MentionBranches) -> None:
        """Check that the mention prompts fit the model's context.

        RAISES (ValueError): If they do not.
        """
        longest = self.grower.tree.depth(stem) + 1 + len(prompts.stem)
        longest += max(map(len, prompts.mentions))
        context = self.grower.context
        if longest >= context:
            raise ValueError(Errors.P121.format(tokens=longest, context=context))

    def _plant_one(
        self, label: str, index: int, end: int, tagged: Sequence[TaggedMention]
    ) -> MentionBranch:
        """Ask for the first token of a mention, whose prompt ends at slot `end`."""
        forced = None
        if self.forced is not None:
            forced = self.forced.mention(self.text, label, index)
        output = self.grower.request.ask(end)
        mention = MentionBranch(label, index, end, output, forced)
        if index <= len(tagged):
            ids = self.grower.prompt.mention_draft(tagged[index - 1].ids)
            self.grower.draft(mention, ids)
        return mention


def _begins(ids: Sequence[int], beginning: Sequence[int]) -> bool:
    return list(ids[: len(beginning)]) == list(beginning)
