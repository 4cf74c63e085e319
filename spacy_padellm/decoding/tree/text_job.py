"""A text to decode as a token tree, with what all parts of its tree need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.limits import Cuts, Limits
from spacy_padellm.decoding.tree.copy_source import CopySource
from spacy_padellm.decoding.tree.step import PassRequest
from spacy_padellm.decoding.tree.tags import TagSet
from spacy_padellm.prompt.branches import CountPrompts
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.tree.token_tree import TokenTree


@dataclass(frozen=True, slots=True)
class SelectionSettings:
    """How counts and mentions are chosen; the defaults are the paper's.

    See `TreeDecoder` for details.

    min_count_probability (float | None): Lowest probability of a count.
    from_text (bool): Whether mentions must be strings of the text.
    tag_weight (float): Share of the tags in a mention's score.
    sure_tag_probability (float): Lowest probability of tags that replace the prompts.
    """

    min_count_probability: float | None = None
    from_text: bool = False
    tag_weight: float = 0.0
    sure_tag_probability: float = 1.0


@dataclass(frozen=True, eq=False)
class TextJob:
    """A text, and what the parts of its tree have in common.

    text (str): The text.
    count_prompts (CountPrompts): Its count prompts.
    prompt (PromptTokens): The prompt.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    context (int): The longest sequence in tokens that the model takes.
    limits (Limits): Limits of counts and mentions.
    cuts (Cuts): The text's cuts, which are added to it.
    selection (SelectionSettings): How counts and mentions are chosen.
    forced (ForcedOutputs | None): Answers to use instead of the model's.
    tags (TagSet | None): The tags of the text's tokens; None if it is not tagged.
    tags_first (bool): Whether the first pass runs the text alone. Its tags then draft
        counts, too, or replace the prompts of a label.
    """

    text: str
    count_prompts: CountPrompts
    prompt: PromptTokens
    labels: Mapping[str, str]
    context: int
    limits: Limits
    cuts: Cuts
    selection: SelectionSettings
    forced: ForcedOutputs | None = None
    tags: TagSet | None = None
    tags_first: bool = False

    @cached_property
    def tree(self) -> TokenTree:
        """The text's tree, which grows from pass to pass."""
        return TokenTree(bidirectional_span=self.count_prompts.bidirectional_span)

    @cached_property
    def request(self) -> PassRequest:
        """The outputs that the text needs from the next pass."""
        tagged = range(*self.count_prompts.text) if self.tags else range(0)
        return PassRequest(tagged=tagged)

    @cached_property
    def source(self) -> CopySource:
        """The text as the source of mentions."""
        if self.prompt.prompt.whole:
            # a token may cross the border after the text
            (tokens,) = self.prompt.strings.plain([self.text])
        else:
            tokens = self.count_prompts.root[slice(*self.count_prompts.text)]
        return CopySource(tokens, self.prompt.strings, self.prompt.eos)

    @property
    def root(self) -> int:
        """Slot of the last token that all labels share.

        The root fills the first slots, so a token of it has its index as its slot.
        """
        return len(self.count_prompts.root) - 1
