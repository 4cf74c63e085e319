"""Colours for displaCy."""

from __future__ import annotations

import spacy


def displacy_colors() -> dict[str, str]:
    """The colours of the bundled models' labels that displaCy would show in grey.

    RETURNS (dict[str, str]): Label -> colour: that of PERSON, and that of NORP.
    """
    return {"PER": "#aa9cfc", "MISC": "#c887fb"}


spacy.registry.displacy_colors.register("spacy-padellm.colors.v1", func=displacy_colors)
