"""The tags of a text's tokens, and the mentions that they show; see `training.tags`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from unicodedata import category

import numpy as np
import numpy.typing as npt

from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.scripts import is_without_spaces

# least share of the beginning tag that parts a word from a mention of its label; with
# 0.5, a small model parts names ("Paul", "Young")
_BEGINS = 0.9


@dataclass(frozen=True, slots=True)
class TagSet:
    """The tags that a text's tokens are classified with.

    ids (list[int]): Tokens that stand for the tags: `<eos>` for outside of mentions,
        then one for the inside of each label's mentions, then those for beginnings.
    labels (list[str | None]): The label of each inside tag; None if its mentions are
        not to be found.
    begins (list[int]): For each beginning tag, the number of its label's inside tag,
        from 1.
    as_trained (bool): Whether the model was trained to choose between these labels.
    """

    ids: list[int]
    labels: list[str | None]
    begins: list[int]
    as_trained: bool


def choose_tags(
    lm: LanguageModel, labels: Mapping[str, str], *, eos: int
) -> TagSet | None:
    """Choose the tags of labels, and of labels that were trained together with them.

    Without the latter, their mentions would be tagged with the labels to find. If the
    model was trained with several sets of labels, the smallest set that contains the
    labels to find is used.

    lm (LanguageModel): The model.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    eos (int): The tag outside of mentions.
    RETURNS (TagSet | None): None if none of the labels has a tag.
    """
    tags = lm.tags
    label_of = {name: label for label, name in labels.items()}
    tagged = [name for name in label_of if name in tags.inside]
    if not tagged:
        return None
    matching = [names for names in tags.sets if {*tagged} <= {*names}]
    trained = min(matching, key=len, default=tagged)
    others = [n for n in trained if n in tags.inside and n not in label_of]
    names = [*tagged, *others]
    begins = [number for number, n in enumerate(names, start=1) if n in tags.begins]
    inside_ids = [tags.inside[name] for name in names]
    begin_ids = [tags.begins[names[number - 1]] for number in begins]
    return TagSet(
        ids=[eos, *inside_ids, *begin_ids],
        labels=[label_of.get(name) for name in names],
        begins=begins,
        as_trained=bool(matching),
    )


@dataclass(frozen=True, slots=True)
class TaggedMention:
    """A tagged mention: neighbouring words with the same tag.

    ids (list[int]): Its tokens in the text.
    score (float): The lowest probability of the tag among its words.
    """

    ids: list[int]
    score: float


@dataclass(frozen=True, slots=True)
class TextTags:
    """The tags of a text.

    mentions (dict[str, list[TaggedMention]]): Label -> its mentions in text order.
    sure (dict[str, float]): Label -> how sure its tags are: the lowest probability,
        among all words, that the word is inside a mention of the label if it is tagged
        so, or that it is not if it is not.
    """

    mentions: dict[str, list[TaggedMention]] = field(default_factory=dict)
    sure: dict[str, float] = field(default_factory=dict)


def read_text_tags(
    text: Sequence[int],
    pieces: Sequence[str],
    log_probabilities: npt.NDArray[np.float64],
    labels: Sequence[str | None],
    *,
    begins: Sequence[int] = (),
) -> TextTags:
    """Read mentions from the tags of a text's tokens.

    The tokens of a word are tagged together: a word gets the tag whose probability has
    the highest geometric mean over its tokens. The word's first token decides whether
    the word begins a mention or continues the one before it, which is more common: it
    begins one only if that is nearly sure.

    text (Sequence[int]): The text's tokens, at least one.
    pieces (Sequence[str]): The string of each token; see `TokenStrings.characters`.
    log_probabilities (float64, (tokens, 1 + labels + begins)): Of being outside of
        mentions, inside a mention of each label, and at the beginning of one.
    labels (Sequence[str | None]): The labels; None for those that are not to be found.
    begins (Sequence[int]): For each beginning tag, the number of its label from 1.
        Neighbouring mentions of a label without such a tag are read as one.
    """
    starts = _first_tokens(pieces)
    inside, begin_share = _join(log_probabilities, begins)
    sizes = np.diff([*starts, len(text)])
    words = np.arange(len(starts))
    probabilities = np.exp(np.add.reduceat(inside, starts, axis=0) / sizes[:, None])
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    tags = probabilities.argmax(axis=1)
    begin = begin_share[starts, tags]
    # a word with another tag than the one before begins a mention in any case
    begin[np.append(True, tags[1:] != tags[:-1])] = 1.0
    # how clear it is whether a mention begins, whichever way it is read
    probabilities[words, tags] *= np.maximum(begin, 1 - begin)
    scores = probabilities[words, tags]
    mentions: dict[str, list[TaggedMention]] = {label: [] for label in labels if label}
    firsts = np.flatnonzero((begin > _BEGINS) | (tags == 0))
    for first, end in pairwise([*firsts, len(words)]):
        label = labels[tags[first] - 1] if tags[first] else None
        if label:
            ids = list(text[starts[first] : starts[end - 1] + sizes[end - 1]])
            mentions[label].append(TaggedMention(ids, float(scores[first:end].min())))
    return TextTags(mentions, _sure(probabilities, tags, labels))


def _sure(
    probabilities: npt.NDArray[np.float64],
    tags: npt.NDArray[np.intp],
    labels: Sequence[str | None],
) -> dict[str, float]:
    """How sure the tags of each label are; see `TextTags`.

    probabilities (float64, (words, tags)): Of each tag.
    tags (intp, (words,)): The tag of each word.
    """
    is_chosen = tags[:, None] == np.arange(probabilities.shape[1])
    lowest = np.where(is_chosen, probabilities, 1 - probabilities).min(axis=0)[1:]
    pairs = zip(labels, lowest.tolist(), strict=True)
    return {label: probability for label, probability in pairs if label}


def _join(
    log_probabilities: npt.NDArray[np.float64], begins: Sequence[int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Add the probabilities of beginning tags to those of inside tags.

    log_probabilities (float64, (tokens, tags + begins)): Of all tags.
    begins (Sequence[int]): For each beginning tag, its inside tag.
    RETURNS (tuple[float64, float64], (tokens, tags) each): Log-probabilities, and the
        share of the beginning tag in each probability.
    """
    count = log_probabilities.shape[1] - len(begins)
    joined = log_probabilities[:, :count].copy()
    share = np.zeros((len(log_probabilities), count))
    begin = log_probabilities[:, count:]
    joined[:, begins] = np.logaddexp(joined[:, begins], begin)
    share[:, begins] = np.exp(begin - joined[:, begins])
    return joined, share


def _first_tokens(pieces: Sequence[str]) -> list[int]:
    """The indexes of the tokens that begin a word, among them the first one."""
    starts = [0]
    goes_on = True
    for index, piece in enumerate(pieces):
        edges = _edges(piece)
        if edges is None:
            continue
        joins, joins_words, piece_goes_on = edges
        # the dot of an initial is tagged with it
        joins = joins or (piece == "." and _is_initial(pieces[starts[-1] : index]))
        if index and not (joins or (joins_words and goes_on)):
            starts.append(index)
        goes_on = piece_goes_on
    return starts


@lru_cache(maxsize=1 << 16)  # the same pieces occur again and again
def _edges(piece: str) -> tuple[bool, bool, bool] | None:
    """How a piece joins its neighbours; None if it is only the rest of a character.

    RETURNS (tuple[bool, bool, bool]): Whether it joins whatever is before it, whether
        it joins a word before it, and whether a word may go on after it.
    """
    last = next((c for c in reversed(piece) if not _is_mark(c)), None)
    if last is None:
        return None
    return _is_mark(piece[0]), _in_word(piece[0]), _in_word(last)


def _in_word(character: str) -> bool:
    """Whether a word may extend beyond a character, or a part of one.

    In a script without spaces, each character counts as a word.
    """
    if character >= "\U000f0000":  # see `TokenStrings.piece`
        return True
    is_letter_or_digit = character.isalpha() or character.isdecimal()
    return is_letter_or_digit and not is_without_spaces(character)


def _is_initial(word: Sequence[str]) -> bool:
    """Whether the pieces of a word are one capital letter."""
    return len(word) == 1 and len(word[0].lstrip()) == 1 and word[0].isupper()


def _is_mark(character: str) -> bool:
    """Whether a character belongs to the one before it, as an accent or vowel sign."""
    return not character.isascii() and category(character)[0] == "M"
