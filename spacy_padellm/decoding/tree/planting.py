"""Adds the mention prompts of a count to one text's token tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spacy_padellm.decoding.tree.mentions import MentionBranch, MentionGrower
from spacy_padellm.decoding.tree.tags import TaggedMention
from spacy_padellm.decoding.tree.text_job import TextJob
from spacy_padellm.errors import Errors
from spacy_padellm.prompt.branches import MentionPrompts


@dataclass(frozen=True, slots=True)
class MentionPlanter:
    """Adds mentions to the tree of one text.

    job (TextJob): The text.
    grower (MentionGrower): Drafts the mentions.
    """

    job: TextJob
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
        job, tree = self.job, self.job.tree
        number = min(count, job.limits.max_mentions)
        prompts = job.prompt.mention_prompts(
            job.text, job.labels[label], count=count, number=number
        )
        stem = prompt_end
        if prompts.keep is not None:
            last = prompts.keep - 1  # index in the label's prompt
            stem = last if last <= job.root else prompt_start + last - job.root - 1
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

    def _check_room(self, stem: int, prompts: MentionPrompts) -> None:
        """Check that the mention prompts fit the model's context.

        RAISES (ValueError): If they do not.
        """
        longest = self.job.tree.depth(stem) + 1 + len(prompts.stem)
        longest += max(map(len, prompts.mentions))
        context = self.job.context
        if longest >= context:
            raise ValueError(Errors.P121.format(tokens=longest, context=context))

    def _plant_one(
        self, label: str, index: int, end: int, tagged: Sequence[TaggedMention]
    ) -> MentionBranch:
        """Ask for the first token of a mention, whose prompt ends at slot `end`."""
        forced = None
        if self.job.forced is not None:
            forced = self.job.forced.mention(self.job.text, label, index)
        output = self.job.request.ask(end)
        mention = MentionBranch(label, index, end, output, forced)
        if index <= len(tagged):
            ids = self.job.prompt.mention_draft(tagged[index - 1].ids)
            self.grower.draft(mention, ids)
        return mention


def _begins(ids: Sequence[int], beginning: Sequence[int]) -> bool:
    return list(ids[: len(beginning)]) == list(beginning)
