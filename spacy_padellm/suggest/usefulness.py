"""How much there is to correct in a text."""

from __future__ import annotations

import math

from spacy.tokens import Doc

from spacy_padellm.text.spans import nested_spans


def correction_probability(doc: Doc) -> float:
    """The probability that an annotator has something to correct in a Doc.

    That is, that a mention was missed (see `doc._.padellm_expected`) or that one of
    `doc.ents` or of the nested ones is wrong.

    doc (Doc): A Doc that a `padellm_ner` annotated.
    RETURNS (float): In 0..1.
    """
    found_all: float = math.prod(1 - e.missed for e in doc._.padellm_expected.values())
    scores = [ent._.padellm_score for ent in (*doc.ents, *nested_spans(doc))]
    all_right: float = math.prod(score for score in scores if score is not None)
    return 1 - found_all * all_right
