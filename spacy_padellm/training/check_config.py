"""Checks of the section `[training]` of a config."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spacy_padellm.checks import is_number, is_whole
from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.training.optimizers import check_adamw

# the readers whose `path` is a file or a folder
_FILE_READERS = {
    "spacy.Corpus.v1",
    "spacy.JsonlCorpus.v1",
    "spacy.PlainTextCorpus.v1",
    "spacy-padellm.Corpus.v1",
}


def check_training(training: Mapping[str, Any]) -> None:
    """Check settings of a training with which it fails, waits forever or is wasted.

    Warns of settings that end it late or early, which may be meant.

    training (Mapping[str, Any]): The section `[training]`, without variables.
    RAISES (ValueError): If a count is not a whole number, at least 1, or a number of
        the optimizer is out of its range, or it averages parameters or is no AdamW.
    """
    _check_counts(training)
    _check_optimizer(training.get("optimizer") or {})
    _note_end(training)


def check_dev_corpus(config: Mapping[str, Any]) -> None:
    """Check that the texts to evaluate on are there.

    spaCy looks for them only when the first steps were made.

    config (Mapping[str, Any]): The pipeline's config, without variables.
    RAISES (ValueError): If they are read from a path that does not exist.
    """
    name = config["training"].get("dev_corpus")
    reader: Any = config
    for part in str(name).split("."):
        reader = reader.get(part) if isinstance(reader, Mapping) else None
    if not isinstance(reader, Mapping) or reader.get("@readers") not in _FILE_READERS:
        return
    path = reader.get("path")
    if path is not None and not Path(path).exists():
        raise ValueError(Errors.P1005.format(path=path, name=name))


def _check_counts(training: Mapping[str, Any]) -> None:
    for name in ("accumulate_gradient", "eval_frequency"):
        value = training.get(name, 1)
        if not (is_whole(value) and value >= 1):
            raise ValueError(Errors.P729.format(name=name, value=value))
    size = (training.get("batcher") or {}).get("size", 1)
    if is_number(size) and size < 1:
        raise ValueError(Errors.P729.format(name="batcher.size", value=size))
    for name in ("max_steps", "patience"):
        value = training.get(name, 0)
        if is_number(value) and value < 0:
            raise ValueError(Errors.P760.format(name=name, value=value))


def _check_optimizer(optimizer: Mapping[str, Any]) -> None:
    least = sys.float_info.min
    for name, start, end, valid in (
        ("learn_rate", least, math.inf, "a number above 0 (e.g. 1e-4)"),
        ("grad_clip", 0, math.inf, "a number, at least 0 (1.0 is usual)"),
        ("L2", 0, math.inf, "a number, at least 0 (0.01 is usual)"),
        ("eps", least, math.inf, "a number above 0 (1e-8 is usual)"),
        ("beta1", 0, 1, "a number from 0 to below 1 (0.9 is usual)"),
        ("beta2", 0, 1, "a number from 0 to below 1 (0.98 is usual)"),
    ):
        value: Any = optimizer.get(name)
        if is_number(value) and not start <= value < end:
            message = Errors.P731.format(name=name, value=value, least=valid)
            raise ValueError(message)
    kind, decay = optimizer.get("@optimizers"), optimizer.get("L2_is_weight_decay")
    check_adamw(
        averages=bool(optimizer.get("use_averages")),
        radam=kind == "RAdam.v1",
        sgd=kind == "SGD.v1",
        l2_in_gradient=bool(optimizer.get("L2")) and decay is False,
    )


def _note_end(training: Mapping[str, Any]) -> None:
    """Warn of a training that never ends, or before it was evaluated as is meant."""
    steps, patience = training.get("max_steps"), training.get("patience")
    every = training.get("eval_frequency", 1)
    if not (steps or patience or training.get("max_epochs", 0) > 0):
        logger.warning(Warnings.W760)
    if patience and patience < every:
        logger.warning(Warnings.W761.format(patience=patience, every=every))
    if steps and steps < every:
        logger.warning(Warnings.W762.format(steps=steps, every=every))


def planned_steps(training: Mapping[str, Any]) -> int | None:
    """How many steps a training takes, by its config.

    Warns if the learning rate is planned for another number of steps, or may be.

    training (Mapping[str, Any]): The section `[training]`, without variables.
    RETURNS (int | None): `max_steps`; None if there is no limit.
    RAISES (ValueError): If there is no limit, and the learning rate needs one.
    """
    max_steps = training["max_steps"] or None
    rate = training["optimizer"].get("learn_rate")
    if isinstance(rate, Mapping) and "total_steps" in rate:
        total = rate["total_steps"]
        epochs = training.get("max_epochs", 0)
        if total is None and max_steps is None:
            raise ValueError(Errors.P261)
        if total is None and epochs > 0:
            logger.warning(Warnings.W136.format(epochs=epochs, steps=max_steps))
        if total is not None and max_steps is not None and total < max_steps:
            logger.warning(Warnings.W133.format(total=total, steps=max_steps))
        elif total is not None and max_steps is not None and total > max_steps:
            logger.warning(Warnings.W134.format(total=total, steps=max_steps))
    return max_steps
