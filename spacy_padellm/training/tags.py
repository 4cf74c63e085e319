"""Tags: an auxiliary training target for the tokens of a text.

Counts and mentions give few tokens of a text a training signal. A prefix LM does not
predict the text itself, so that its outputs there can be trained as a tagger. Each
label has two tags, which are tokens of the vocabulary: one for the first token of a
mention, and one for its other tokens. The tag of tokens outside mentions is `<eos>`.
Decoding drafts mentions from the tags, and accepts those with a high probability.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, count, pairwise

import torch

from spacy_padellm.errors import Errors
from spacy_padellm.lm.task.tags import TaughtTags
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.template import Prompt
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.training.targets import TagTargets, TrainingTree

DEFAULT_WEIGHT = 1.0  # loss weight of the tags of a model that has tags


def tag_loss_weight(tag_loss: float | None, tags: TaughtTags) -> float:
    """The loss weight of tags.

    tag_loss (float | None): The setting; None is the default.
    tags (TaughtTags): The model's tags.
    """
    if tag_loss is not None:
        return tag_loss
    # a model that is not trained on its tags any more would still predict them
    return DEFAULT_WEIGHT if tags.inside else 0.0


def check_tag_prompt(prompt: Prompt) -> None:
    """Check that the tokens of a prompt's text can be tagged.

    prompt (Prompt): The prompt.
    RAISES (ValueError): If it is not a prefix LM's, or is tokenized as a whole, so that
        the offsets of its tokens are not known.
    """
    if not prompt.prefix_lm:
        raise ValueError(Errors.P109)
    if prompt.whole:
        raise ValueError(Errors.P108)


def without_tags(tags: TaughtTags) -> TaughtTags:
    """The tags of a model after it was trained without them.

    tags (TaughtTags): The tags that it was trained on before.
    """
    return replace(tags, inside={}, begins={}, sets=[]) if tags.inside else tags


def add_tags(
    trees: Sequence[TrainingTree],
    golds: Sequence[GoldText],
    *,
    prompt: PromptTokens,
    labels: Mapping[str, str],
    tags: TaughtTags,
    weight: float,
) -> None:
    """Add the tags of the texts' tokens to training trees.

    trees (Sequence[TrainingTree]): The texts' trees.
    golds (Sequence[GoldText]): The texts with their mentions.
    prompt (PromptTokens): The prompt of a prefix LM.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    tags (TaughtTags): The tags of these labels, and possibly of others.
    weight (float): Loss weight of each token.
    RAISES (ValueError): If the prompt is not a prefix LM's, or is tokenized as a
        whole, so that the offsets of its tokens are not known.
    """
    check_tag_prompt(prompt.prompt)
    tag_of = {label: tags.inside[name] for label, name in labels.items()}
    begin_of = tag_of | {
        label: tags.begins[name]
        for label, name in labels.items()
        if name in tags.begins
    }
    offsets = prompt.strings.offsets([gold.text for gold in golds])
    for tree, gold, token_offsets in zip(trees, golds, offsets, strict=True):
        start, end = tree.bidirectional_span
        targets = [prompt.eos] * (end - start)
        # the longer of two nested mentions overwrites the shorter one
        for mention in sorted(gold.spans, key=lambda span: span[1] - span[0]):
            for number, token in enumerate(_tokens_of(mention, token_offsets)):
                targets[token] = (tag_of if number else begin_of)[mention[2]]
        tag_ids = frozenset({prompt.eos, *tag_of.values(), *begin_of.values()})
        tree.tags = TagTargets(start, targets, tag_ids, weight)


def with_tags_of(
    known: TaughtTags,
    prompt: PromptTokens,
    golds: Sequence[GoldText],
    names: Sequence[str],
) -> TaughtTags:
    """The tags of a model after it was trained on these texts too.

    known (TaughtTags): The tags that it was trained on before.
    prompt (PromptTokens): The prompt.
    golds (Sequence[GoldText]): The texts with their mentions.
    names (Sequence[str]): Names in the prompt of the labels that are tagged in them.
    """
    inside = tag_tokens(prompt, names, known=known.inside, others=known.begins)
    # a model trained with one tag for a label does not get a second one: until that is
    # learnt, it would only take probability from the first
    new = [name for name in names if name not in known.inside]
    sets = known.sets if known.inside else []
    return TaughtTags(
        inside,
        tag_tokens(prompt, new, known=known.begins, others=inside),
        sets if list(names) in sets else [*sets, list(names)],
        known.overlaps or any(map(has_overlaps, golds)),
    )


def has_overlaps(gold: GoldText) -> bool:
    """Whether mentions of a text overlap, so that a token has more than one tag."""
    offsets = sorted(span[:2] for span in gold.spans)
    return any(start < end for (_, end), (start, _) in pairwise(offsets))


def _tokens_of(
    mention: tuple[int, int, str], offsets: Sequence[tuple[int, int]]
) -> Iterable[int]:
    """The tokens that share a character with a mention."""
    start, end, _ = mention
    return (token for token, (a, b) in enumerate(offsets) if a < end and b > start)


def tag_tokens(
    prompt: PromptTokens,
    names: Iterable[str],
    *,
    known: Mapping[str, int],
    others: Mapping[str, int],
) -> dict[str, int]:
    """Name -> its tag.

    The tag of a new name is its first token that is not a tag yet. It never changes
    afterwards, so that it does not depend on which labels are used together.

    prompt (PromptTokens): The prompt.
    names (Iterable[str]): Names of labels in the prompt.
    known (Mapping[str, int]): The names that have tags already.
    others (Mapping[str, int]): Name -> its tag of the other kind (begin or inside).
    """
    tags = dict(known)
    for name in names:
        if name not in tags:
            taken = {prompt.eos, *tags.values(), *others.values()}
            # if all its tokens are tags already, take any other token
            choices = chain(prompt.name_tokens(name), count())
            tags[name] = next(token for token in choices if token not in taken)
    return tags


class TagBatch:
    """The tags of a batch of trees.

    positions (list[int]): The tagged tokens, each as row * width + token.
    tag_ids (list[int]): The tags of all trees.
    targets (list[int]): Index in `tag_ids` of the gold tag, for each position.
    weights (list[float]): Loss weight of each position.
    allowed (torch.Tensor): (positions, tag_ids): the possible tags of each position.
    """

    def __init__(self, trees: Sequence[TrainingTree], width: int) -> None:
        """Join the tags of trees.

        trees (Sequence[TrainingTree]): The trees; those without tags are passed over.
        width (int): The width that the trees are padded to, in tokens.
        """
        tagged = [(row, tree.tags) for row, tree in enumerate(trees) if tree.tags]
        self.tag_ids = sorted({tag for _, tags in tagged for tag in tags.tag_ids})
        index = {tag: number for number, tag in enumerate(self.tag_ids)}
        self.positions: list[int] = []
        self.targets: list[int] = []
        self.weights: list[float] = []
        allowed: list[list[bool]] = []
        for row, tags in tagged:
            size = len(tags.targets)
            first = row * width + tags.first
            self.positions += range(first, first + size)
            self.targets += [index[target] for target in tags.targets]
            self.weights += [tags.weight] * size
            allowed += [[tag in tags.tag_ids for tag in self.tag_ids]] * size
        self.allowed = torch.tensor(allowed, dtype=torch.bool, device="cpu")
