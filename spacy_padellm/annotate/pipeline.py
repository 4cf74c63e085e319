"""The pipeline that annotates: found, told from others, loaded."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from spacy import util
from spacy.language import Language

from spacy_padellm.annotate.files import AnnotateError
from spacy_padellm.errors import Errors, logger
from spacy_padellm.lm.loading import BUNDLED
from spacy_padellm.lm.memory import limit_kernel_caches
from spacy_padellm.pipeline.bundled import load_pipeline

FACTORY = "padellm_ner"
PROBE = "Ada Lovelace was born in London."


def find_pipeline(name: str) -> tuple[str, Path]:
    """Find a pipeline with the component in it.

    name (str): A folder or an installed package, as for `spacy.load`, or a bundled
        model.
    RETURNS (tuple[str, Path]): What `load_checked` takes in any working folder, and
        the folder with its files.
    RAISES (AnnotateError): If there is none, or it lacks the component.
    """
    if name in BUNDLED:
        return name, BUNDLED[name]
    is_package = util.is_package(name)
    folder = util.get_package_path(name) if is_package else Path(name).resolve()
    # spaCy looks here: in a package there is a folder of its name and version
    configs = sorted(folder.glob("*/config.cfg" if is_package else "config.cfg"))
    if not configs:
        reason = f"there is no config.cfg in {folder}"
        raise AnnotateError(Errors.P408.format(name=name, error=reason))
    try:
        config = util.load_config(configs[0])
        pipes = [config["components"][pipe] for pipe in config["nlp"]["pipeline"]]
    except (ValueError, KeyError) as error:
        raise AnnotateError(Errors.P408.format(name=name, error=error)) from error
    if not any(pipe.get("factory") == FACTORY for pipe in pipes):
        known = ", ".join(config["nlp"]["pipeline"]) or "none"
        raise AnnotateError(Errors.P409.format(name=name, factory=FACTORY, known=known))
    return name if is_package else str(folder), folder


def fingerprint(folder: Path) -> str:
    """A hash of all that a pipeline's folder holds."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            content = hashlib.sha256()
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    content.update(block)
            name = path.relative_to(folder).as_posix()
            total.update(f"{name} {content.hexdigest()}\n".encode())
    return total.hexdigest()


def load_checked(name: str) -> Language:
    """Load a pipeline and let it read a sentence, so that a broken one is told now.

    RAISES (AnnotateError): If it cannot be loaded, or fails.
    """
    limit_kernel_caches()
    # workers share the cores; and the same threads give the same last digits
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))
    try:
        nlp = load_pipeline(name)
        nlp(PROBE)
    except Exception as error:  # any component of any pipeline may fail
        raise AnnotateError(Errors.P408.format(name=name, error=error)) from error
    return nlp


_told: set[str] = set()


@contextmanager
def log_once() -> Iterator[None]:
    """Let each kind of the component's log lines through once a process.

    Over a corpus there would be one for every few texts.
    """

    def is_new(record: logging.LogRecord) -> bool:
        kind = re.sub(r"\d+", "", record.getMessage())
        new = kind not in _told
        _told.add(kind)
        return new

    logger.addFilter(is_new)
    try:
        yield
    finally:
        logger.removeFilter(is_new)
