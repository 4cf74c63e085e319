"""Find, identify and load the pipeline that annotates."""

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

from spacy_padellm.annotate.files import AnnotateError, LinkedFiles
from spacy_padellm.error_words import words_of
from spacy_padellm.errors import Errors, logger
from spacy_padellm.factory_name import FACTORY
from spacy_padellm.lm.devices.memory import limit_kernel_caches
from spacy_padellm.lm.files.bundled import BUNDLED
from spacy_padellm.lm.handle.stamp import base_models
from spacy_padellm.lm.lora import ADAPTER
from spacy_padellm.pipeline.bundled import load_pipeline
from spacy_padellm.pipeline.merging import forget_pipeline

THREADS = re.compile("[1-9][0-9]{0,4}")
PROBE = "Ada Lovelace was born in London."


def find_pipeline(name: str) -> tuple[str, Path]:
    """Find a pipeline with a `padellm_ner`.

    name (str): A folder or an installed package, as for `spacy.load`, or a bundled
        model.
    RETURNS (tuple[str, Path]): The name for `load_checked`, which works in any working
        directory, and the folder with the files of the pipeline.
    RAISES (AnnotateError): If there is no pipeline, or it has no `padellm_ner`.
    """
    if name in BUNDLED:
        return name, BUNDLED[name]
    is_package = util.is_package(name)
    folder = util.get_package_path(name) if is_package else Path(name).resolve()
    # a package contains a folder with its name and version
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
    """Hash all files in the folder of a pipeline, and the base models of its adapters.

    folder (Path): The folder.
    """
    total = hashlib.sha256()
    files = _files(folder)
    adapters = [path.parent for path in files if path.name == ADAPTER]
    bases = [base for adapter in adapters for base in base_models(adapter)]
    for place in [folder, *bases]:
        for path in _files(place):
            name = path.relative_to(place).as_posix()
            total.update(f"{name} {_hash(path)}\n".encode())
    return total.hexdigest()


def _files(place: Path) -> list[Path]:
    """List the files of a folder, also of links to folders, or the file itself."""
    if place.is_file():
        return [place]
    found = map(Path, LinkedFiles().find(str(place)))
    return sorted(
        path for path in found if path.is_file() and "__pycache__" not in path.parts
    )


def _hash(path: Path) -> str:
    content = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            content.update(block)
    return content.hexdigest()


def load_checked(name: str) -> Language:
    """Load a pipeline and run it on a sentence to check that it works.

    RAISES (AnnotateError): If the pipeline cannot be loaded, or fails.
    """
    limit_kernel_caches()
    # workers share the cores; a fixed number of threads makes scores reproducible
    torch.set_num_threads(read_threads(os.environ.get("OMP_NUM_THREADS", "")))
    try:
        nlp = load_pipeline(name)
        # a DocBin is written with moved spans, and Parquet without spans
        forget_pipeline(nlp)
        nlp(PROBE)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # components may raise anything, and call sys.exit
        kind = "" if isinstance(error, Exception) else f"{type(error).__name__}: "
        words = f"{kind}{words_of(error)}"
        raise AnnotateError(Errors.P408.format(name=name, error=words)) from error
    return nlp


def read_threads(value: str) -> int:
    """Read OMP_NUM_THREADS, which may hold a number for each level of nesting.

    value (str): The variable's value.
    RETURNS (int): Its first number; 1 if it holds anything else.
    """
    first = value.partition(",")[0].strip()
    return int(first) if THREADS.fullmatch(first) else 1


_logged: set[str] = set()


@contextmanager
def log_once() -> Iterator[None]:
    """Log each kind of message of the component once per process.

    A corpus would otherwise cause a message every few texts. Messages that differ only
    in numbers are of the same kind.
    """

    def is_new(record: logging.LogRecord) -> bool:
        kind = re.sub(r"\d+", "", record.getMessage())
        new = kind not in _logged
        _logged.add(kind)
        return new

    logger.addFilter(is_new)
    try:
        yield
    finally:
        logger.removeFilter(is_new)
