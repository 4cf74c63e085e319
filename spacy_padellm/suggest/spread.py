"""Choose texts that are useful and not alike."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from spacy_padellm.mention.scripts import (
    SOUTHEAST_ASIAN,
    character_class,
    is_without_spaces,
)

# with the vowels of scripts such as Burmese, which \w leaves out
_WORDS = re.compile(rf"(?:\w|{character_class(SOUTHEAST_ASIAN)})+")


def choose_spread(
    texts: Sequence[str], scores: Sequence[float], *, n: int
) -> list[int]:
    """Choose texts one by one: the most useful one, the less it is like those before.

    The likeness of two texts is the cosine of their words' tf-idf weights. A text's
    score is multiplied by 1 - its likeness to the most similar text that was chosen.

    texts (Sequence[str]): The texts.
    scores (Sequence[float]): How useful each is, at least 0.
    n (int): How many to choose.
    RETURNS (list[int]): Their indexes, at most `n`. A text that another one repeats is
        chosen once.
    """
    vectors = _vectors(texts)
    postings: dict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    for index, vector in enumerate(vectors):
        for word, weight in vector.items():
            postings[word][0].append(index)
            postings[word][1].append(weight)
    arrays = {
        word: (np.array(indexes), np.array(weights))
        for word, (indexes, weights) in postings.items()
    }
    gains = np.array(scores, dtype=np.float64)
    nearest = np.zeros(len(texts))
    selection: list[int] = []
    seen: set[str] = set()
    left = gains.copy()
    while len(selection) < n and left.size and left.max() >= 0:
        best = int(left.argmax())
        if texts[best] not in seen:
            selection.append(best)
            seen.add(texts[best])
            likeness = np.zeros(len(texts))
            for word, weight in vectors[best].items():
                indexes, weights = arrays[word]
                likeness[indexes] += weight * weights
            nearest = np.maximum(nearest, likeness)
            taken = left < 0
            left = gains * (1 - nearest.clip(max=1.0))
            left[taken] = -1.0
        left[best] = -1.0
    return selection


def _vectors(texts: Sequence[str]) -> list[dict[str, float]]:
    """Each text's words with their tf-idf weights, of length 1."""
    counts = [Counter(_words(text)) for text in texts]
    texts_with = Counter(word for count in counts for word in count)
    vectors = []
    for count in counts:
        weights = {
            word: number * math.log((1 + len(texts)) / texts_with[word])
            for word, number in count.items()
        }
        length = math.sqrt(sum(weight**2 for weight in weights.values())) or 1.0
        vectors.append({word: weight / length for word, weight in weights.items()})
    return vectors


def _words(text: str) -> list[str]:
    """The words of a text; pairs of characters, if its script has no spaces."""
    words = _WORDS.findall(text.casefold())
    if not any(map(is_without_spaces, text)):
        return words
    return [w[i : i + 2] for w in words for i in range(max(len(w) - 1, 1))]
