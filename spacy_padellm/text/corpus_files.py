"""The files that spaCy's readers find in the folder of a corpus."""

from __future__ import annotations

import warnings
from pathlib import Path

from spacy.training.corpus import walk_corpus


def corpus_suffixes(path: Path) -> set[str]:
    """Get the suffixes of all files of a corpus, also of those in linked folders.

    path (Path): A file or a folder.
    RAISES (OSError): If a folder in it cannot be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are none
        return {file.suffix for file in walk_corpus(path, "")}
