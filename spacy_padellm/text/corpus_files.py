"""The files that spaCy's readers find in the folder of a corpus."""

from __future__ import annotations

import warnings
from pathlib import Path

from spacy.training.corpus import walk_corpus

# suffixes of what the readers of spaCy and of this package read
_READ = {".spacy", ".jsonl", ".json", ".txt"}


def corpus_files(path: Path) -> list[Path]:
    """Get the files of a corpus, also those in linked folders, in the order of reading.

    path (Path): A file or a folder.
    RETURNS (list[Path]): Those that readers read, or else all that are not
        hidden.
    RAISES (OSError): If a folder in it cannot be read.
    """
    files = [file for file in _walk(path) if file.is_file()]
    return [file for file in files if file.suffix in _READ] or files


def corpus_suffixes(path: Path) -> set[str]:
    """Get the suffixes of all files of a corpus, also of those in linked folders.

    path (Path): A file or a folder.
    RAISES (OSError): If a folder in it cannot be read.
    """
    return {file.suffix for file in _walk(path)}


def _walk(path: Path) -> list[Path]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are none
        return list(walk_corpus(path, ""))
