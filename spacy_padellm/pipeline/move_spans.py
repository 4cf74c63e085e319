"""The factory `padellm_move_spans`, for pipelines that merge or split tokens."""

from __future__ import annotations

from collections.abc import Callable

from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.text.moved import move_spans


@Language.factory("padellm_move_spans", requires=["doc.spans"], assigns=["doc.spans"])
def make_move_spans(nlp: Language, name: str) -> Callable[[Doc], Doc]:
    """Make the component; see `move_spans`."""
    return move_spans
