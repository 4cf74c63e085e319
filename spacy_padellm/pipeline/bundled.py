"""Loading of pipelines by name, with those of the bundled models."""

from __future__ import annotations

import spacy
from spacy.language import Language

from spacy_padellm.errors import Errors
from spacy_padellm.factory_name import FACTORY
from spacy_padellm.lm.files.bundled import BUNDLED, NAMES, language_of


def load_pipeline(name: str) -> Language:
    """Load a pipeline, on the GPU if there is one.

    name (str): A bundled model, such as "bundled-en", or a name or path for
        `spacy.load`.
    RAISES (OSError | ValueError): If it does not exist, or cannot be loaded.
    """
    # spaCy's own commands have --gpu-id for this; without CuPy it changes nothing
    spacy.prefer_gpu()
    if name not in BUNDLED:
        try:
            return spacy.load(name)
        except OSError as error:
            message = Errors.P723.format(name=name, error=error, known=NAMES)
            raise OSError(message) from error
    nlp = spacy.blank(language_of(name))
    nlp.add_pipe(FACTORY, config={"model": {"name": name}})
    return nlp
