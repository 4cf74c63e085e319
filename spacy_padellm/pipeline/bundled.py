"""Pipelines by name: those around bundled models besides what spaCy finds."""

from __future__ import annotations

import spacy
from spacy.language import Language

from spacy_padellm.lm.loading import BUNDLED


def load_pipeline(name: str) -> Language:
    """Load a pipeline.

    name (str): A bundled model, such as "bundled-en", or what `spacy.load` takes.
    RAISES (OSError | ValueError): If there is none, or it cannot be loaded.
    """
    if name not in BUNDLED:
        return spacy.load(name)
    nlp = spacy.blank(name.removeprefix("bundled-"))
    nlp.add_pipe("padellm_ner", config={"model": {"name": name}})
    return nlp
