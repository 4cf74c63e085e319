"""The tags of a text's tokens, and the mentions that they show; see `training.tags`.

The mentions are drafts of those that are generated, and share in their scores; those
that are sure stand as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from spacy_padellm.decoding.base import Limits
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.mention import Mention

# characters of scripts that put no blanks between words: each is taken for a word
_WITHOUT_BLANKS = (
    ("\u3040", "\u30ff"),
    ("\u3400", "\u9fff"),
    ("\uf900", "\ufaff"),
    ("\U00020000", "\U0003ffff"),
)


@dataclass(frozen=True, slots=True)
class TagSet:
    """Tags of labels, those of mentions' insides first, then those of beginnings.

    ids (list[int]): `<eos>`, which is outside of mentions, and the tags.
    labels (list[str | None]): Whose insides they are; None where the label is not asked
        for.
    begins (list[int]): To which of the labels each beginning belongs, from 1.
    as_taught (bool): Whether the model was taught to choose between these.
    """

    ids: list[int]
    labels: list[str | None]
    begins: list[int]
    as_taught: bool


def choose_tags(
    lm: LanguageModel, labels: Mapping[str, str], *, eos: int
) -> TagSet | None:
    """The tags of labels, and of those that were taught beside them.

    Without these their mentions would be taken for ones of the labels asked for. Of
    several sets of labels that a model was taught, the smallest that fits counts.

    lm (LanguageModel): The model.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    eos (int): The tag outside of mentions.
    RETURNS (TagSet | None): None if none of the labels has a tag.
    """
    tags = lm.tags
    label_of = {name: label for label, name in labels.items()}
    asked = [name for name in label_of if name in tags.inside]
    if not asked:
        return None
    fitting = [names for names in tags.sets if {*asked} <= {*names}]
    taught = min(fitting, key=len, default=asked)
    names = [*asked, *(n for n in taught if n in tags.inside and n not in label_of)]
    begun = [(number, n) for number, n in enumerate(names, start=1) if n in tags.begins]
    return TagSet(
        ids=[
            eos,
            *(tags.inside[n] for n in names),
            *(tags.begins[n] for _, n in begun),
        ],
        labels=[label_of.get(name) for name in names],
        begins=[number for number, _ in begun],
        as_taught=bool(fitting),
    )


@dataclass(frozen=True, slots=True)
class Tagged:
    """A run of words with the same tag, up to one that begins another mention.

    ids (list[int]): The text's tokens.
    score (float): The tag's probability at the least sure of the words.
    """

    ids: list[int]
    score: float


@dataclass(frozen=True, slots=True)
class Tagging:
    """How a text was tagged.

    mentions (dict[str, list[Tagged]]): Label -> its mentions in text order.
    sure (dict[str, float]): Label -> how sure its tags are: the probability, at the
        least sure word, that it is inside a mention of the label where it is tagged
        so, and that it is not elsewhere.
    """

    mentions: dict[str, list[Tagged]] = field(default_factory=dict)
    sure: dict[str, float] = field(default_factory=dict)


def read_tags(
    text: Sequence[int],
    pieces: Sequence[str],
    chances: npt.NDArray[np.float64],
    labels: Sequence[str | None],
    *,
    begins: Sequence[int] = (),
) -> Tagging:
    """Read mentions off the tags of a text's tokens.

    The tokens of a word decide together: each word gets the tag whose probability has
    the highest geometric mean over them. Its first token decides whether it begins a
    mention or goes on with the one before it.

    text (Sequence[int]): The text's tokens, at least one.
    pieces (Sequence[str]): The string of each.
    chances (float64, (tokens, 1 + labels + begins)): Log-probabilities of being outside
        mentions, inside one of each label, and at the beginning of one.
    labels (Sequence[str | None]): The labels; None for those that are not asked for.
    begins (Sequence[int]): To which of the labels each beginning belongs, from 1;
        neighbouring mentions of labels without one are taken for one.
    """
    starts = _word_starts(pieces)
    chances, begun = _join(chances, begins)
    sizes = np.diff([*starts, len(text)])
    means = np.exp(np.add.reduceat(chances, starts, axis=0) / sizes[:, None])
    means /= means.sum(axis=1, keepdims=True)
    tags = means.argmax(axis=1)
    words = np.arange(len(starts))
    begun = begun[starts, tags]
    # elsewhere the tag itself parts a word from the one before
    begun[(tags != np.roll(tags, 1)) | (words == 0)] = 1.0
    means[words, tags] *= np.maximum(begun, 1 - begun)
    scores = means[words, tags]
    mentions: dict[str, list[Tagged]] = {label: [] for label in labels if label}
    firsts = np.flatnonzero((begun > 0.5) | (tags == 0))
    for first, end in pairwise([*firsts, len(words)]):
        label = labels[tags[first] - 1] if tags[first] else None
        if label:
            ids = list(text[starts[first] : starts[end - 1] + sizes[end - 1]])
            score = float(scores[first:end].min())
            mentions[label].append(Tagged(ids, score))
    inside = tags[:, None] == np.arange(means.shape[1])
    sure = np.where(inside, means, 1 - means).min(axis=0)[1:].tolist()
    of_labels = {label: s for label, s in zip(labels, sure, strict=True) if label}
    return Tagging(mentions, of_labels)


def _join(
    chances: npt.NDArray[np.float64], begins: Sequence[int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Add the tags of beginnings to those of insides.

    chances (float64, (tokens, tags + begins)): Log-probabilities.
    begins (Sequence[int]): To which of the tags each of the last ones belongs.
    RETURNS (tuple[float64, float64], (tokens, tags) each): Log-probabilities, and the
        share of the beginning in each probability.
    """
    count = chances.shape[1] - len(begins)
    joined, begun = chances[:, :count].copy(), np.zeros((len(chances), count))
    joined[:, begins] = np.logaddexp(joined[:, begins], chances[:, count:])
    begun[:, begins] = np.exp(chances[:, count:] - joined[:, begins])
    return joined, begun


def share_scores(
    generated: Sequence[Mention],
    tagged: Mapping[str, Sequence[tuple[str, float]]],
    *,
    weight: float,
    limits: Limits,
) -> list[Mention]:
    """Weigh generated mentions and tagged ones against each other.

    generated (Sequence[Mention]): By label, then by index.
    tagged (Mapping[str, Sequence[tuple[str, float]]]): Label -> string and score of
        each tagged mention in text order.
    weight (float): Of the tagged ones' scores, in 0..1; the generated ones' weigh the
        rest. What was found in one way only counts 0 in the other.
    limits (Limits): On the mentions of a label.
    RETURNS (list[Mention]): By label; what was only tagged comes after the others.
        Mentions of labels that are not among `tagged` come last, as they are.
    """
    shared = []
    for label, spans in tagged.items():
        left = list(spans)
        index = 0
        for mention in generated:
            if mention.label != label:
                continue
            index = max(index, mention.index)
            score = (1 - weight) * mention.score
            for place, (string, tag_score) in enumerate(left):
                if string == mention.text.strip():
                    score += weight * tag_score
                    del left[place]
                    break
            shared.append(replace(mention, score=score))
        room = limits.capped(index + len(left)) - index
        for number, (string, tag_score) in enumerate(left[:room], start=index + 1):
            shared.append(Mention(label, number, string, weight * tag_score))
    return shared + [m for m in generated if m.label not in tagged]


def _word_starts(pieces: Sequence[str]) -> list[int]:
    """The tokens that begin a word; the first one does."""
    edges = list(map(_edges, pieces))
    joined = ((before[1] and after[0]) for before, after in pairwise(edges))
    return [0, *(place for place, inside in enumerate(joined, 1) if not inside)]


@lru_cache(maxsize=1 << 16)  # pieces come again and again
def _edges(piece: str) -> tuple[bool, bool]:
    """Whether a word may go on to a piece, and from it."""
    return _in_word(piece[:1]), _in_word(piece[-1:])


def _in_word(character: str) -> bool:
    """Whether a word may go on from or to a character; parts of one count too."""
    if character < _WITHOUT_BLANKS[0][0]:
        return character.isalnum()
    if any(first <= character <= last for first, last in _WITHOUT_BLANKS):
        return False
    return character.isalnum() or character >= "\U000f0000"
