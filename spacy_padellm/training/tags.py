"""An auxiliary training target: each token of a text says whose mention it is in.

Counts and mentions teach few tokens of a text. A prefix LM does not predict its text,
so that its outputs there are free to be taught as a tagger's: of `<eos>` and two tokens
for each label, one is to be the likeliest where a mention of the label begins, the
other inside of it, and `<eos>` outside. Decoding drafts mentions from them, and takes
those that are sure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count, pairwise

from spacy_padellm.errors import Errors
from spacy_padellm.lm.tags import TaughtTags
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.training.targets import Tags, TrainingTree


def add_tags(
    trees: Sequence[TrainingTree],
    golds: Sequence[GoldText],
    *,
    prompt: PromptTokens,
    labels: Mapping[str, str],
    tags: TaughtTags,
    weight: float,
) -> None:
    """Let the tokens of texts be taught which mentions they belong to.

    trees (Sequence[TrainingTree]): The texts' trees.
    golds (Sequence[GoldText]): The texts with their mentions.
    prompt (PromptTokens): The prompt, one of a prefix LM.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    tags (TaughtTags): The tags, those of these labels among them.
    weight (float): Of each token.
    RAISES (ValueError): If the prompt is not a prefix LM's, or not of a kind whose
        tokens' characters are known.
    """
    if not prompt.prompt.prefix_lm:
        raise ValueError(Errors.P109)
    if prompt.prompt.whole:
        raise ValueError(Errors.P108)
    tag_of = {label: tags.inside[name] for label, name in labels.items()}
    begin_of = tag_of | {
        label: tags.begins[name]
        for label, name in labels.items()
        if name in tags.begins
    }
    offsets = prompt.strings.offsets([gold.text for gold in golds])
    for tree, gold, places in zip(trees, golds, offsets, strict=True):
        start, end = tree.bidirectional_span
        targets = [prompt.eos] * (end - start)
        # of nested mentions the outer one shows
        for mention in sorted(gold.places, key=lambda place: place[1] - place[0]):
            for number, slot in enumerate(_inside(mention, places)):
                targets[slot] = (tag_of if number else begin_of)[mention[2]]
        tag_ids = frozenset({prompt.eos, *tag_of.values(), *begin_of.values()})
        tree.tags = Tags(start, targets, tag_ids, weight)


def with_tags_of(
    known: TaughtTags,
    prompt: PromptTokens,
    golds: Sequence[GoldText],
    names: Sequence[str],
) -> TaughtTags:
    """The tags that a model will have been taught once it has learnt these texts too.

    known (TaughtTags): Those that it was taught before.
    prompt (PromptTokens): The prompt.
    golds (Sequence[GoldText]): The texts with their mentions.
    names (Sequence[str]): Names in the prompt of the labels that are tagged in them.
    """
    inside = tag_tokens(prompt, names, known=known.inside, others=known.begins)
    # a second tag would take from one that is known long before it is learnt
    new = [name for name in names if name not in known.inside]
    sets = known.sets if known.inside else []
    return TaughtTags(
        inside,
        tag_tokens(prompt, new, known=known.begins, others=inside),
        sets if list(names) in sets else [*sets, list(names)],
        known.overlaps or any(map(has_overlaps, golds)),
    )


def has_overlaps(gold: GoldText) -> bool:
    """Whether mentions of a text overlap, so that a token has more tags than one."""
    places = sorted(place[:2] for place in gold.places)
    return any(start < end for (_, end), (start, _) in pairwise(places))


def _inside(
    mention: tuple[int, int, str], places: Sequence[tuple[int, int]]
) -> Iterable[int]:
    """The tokens that share a character with a mention."""
    start, end, _ = mention
    return (slot for slot, (a, b) in enumerate(places) if a < end and b > start)


def tag_tokens(
    prompt: PromptTokens,
    names: Iterable[str],
    *,
    known: Mapping[str, int],
    others: Mapping[str, int],
) -> dict[str, int]:
    """Name -> its tag: of a new one the first of its tokens that is no other's tag.

    A tag is given once: it must not depend on which labels are asked for together.

    prompt (PromptTokens): The prompt.
    names (Iterable[str]): Names of labels in the prompt.
    known (Mapping[str, int]): The names that have tags already.
    others (Mapping[str, int]): Tags of another kind.
    """
    tags = dict(known)
    for name in names:
        if name not in tags:
            taken = {prompt.eos, *tags.values(), *others.values()}
            # any token will do where all of its own are taken
            choices = chain(prompt.name_tokens(name), count())
            tags[name] = next(token for token in choices if token not in taken)
    return tags
