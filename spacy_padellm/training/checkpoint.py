"""Checkpoints of a training run, so that the same command continues after a stop.

The corpus is read again from its start, and the updates that the checkpoint holds are
skipped: the order of the texts and the learning rate are those of a run without a stop.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from spacy.language import Language
from wasabi import msg

from spacy_padellm.checks import is_whole
from spacy_padellm.errors import Errors

FILE_NAME = "training.pt"
# settings of [training] that may change before a run is continued
_FREE = {"max_steps", "max_epochs", "eval_frequency", "patience", "logger"}
# settings of the component that decide what it is taught
_TAUGHT = ("factory", "model", "labels", "prompt", "span_getter", "training", "layout")


def make_checkpoints(
    path: str, *, minutes: float = 10.0, component: str = "padellm_ner"
) -> Callable[[Language, dict[str, Any]], None]:
    """`spacy-padellm.checkpoints.v1`: for `[training.before_update]`.

    path (str): Folder of the checkpoint: weights and optimizer state, in float32.
    minutes (float): Time between two checkpoints.
    component (str): The component's name.
    RETURNS (Callable): Called before each step. It continues from the checkpoint, and
        raises a ValueError if that belongs to another config.
    """
    file = Path(path) / FILE_NAME
    done = 0
    started = saved = time.monotonic()

    def before_update(nlp: Language, args: dict[str, Any]) -> None:
        nonlocal done, saved, started
        pipe: Any = nlp.get_pipe(component)
        step = args["step"]
        if not step and file.is_file():
            state = _read(file, _run_of(nlp))
            try:
                pipe.set_training_state(state["training"])
            except (KeyError, TypeError, AttributeError, RuntimeError) as error:
                raise ValueError(Errors.P188.format(path=file)) from error
            done = state["step"]
            msg.info(f"Continues at step {done} from {file}")
        if step == done:
            started = time.monotonic()
        pipe.skips_updates = step < done
        if step > done and time.monotonic() - saved > 60 * minutes:
            _write(file, step, _run_of(nlp), pipe.get_training_state())
            saved = time.monotonic()
            seconds = (saved - started) / (step - done)
            msg.info(f"Checkpoint at step {step}, {seconds:.1f} s a step")

    return before_update


def _run_of(nlp: Language) -> str:
    """The settings of a run."""
    config = nlp.config.interpolate()
    training = {k: v for k, v in config["training"].items() if k not in _FREE}
    training.pop("before_update")
    return json.dumps([config["components"], config["corpora"], training])


def _shared(run: str) -> Any:
    """The settings of a run that its continuation must share."""
    components, corpora, training = json.loads(run)
    for settings in components.values():
        if settings.get("factory") == "padellm_ner":
            # the decoder's settings change no update, but its kind does
            decoder = (settings.get("decoder") or {}).get("@misc")
            taught = {name: settings.get(name) for name in _TAUGHT}
            settings.clear()
            settings.update(taught, decoder=decoder)
    return components, corpora, training


def _read(file: Path, run: str) -> dict[str, Any]:
    try:
        stored = torch.load(file, weights_only=True, map_location="cpu")
        state = {key: stored[key] for key in ("run", "step", "training")}
        shared = _shared(state["run"])
        is_step = is_whole(state["step"])
    except Exception as error:
        raise ValueError(Errors.P188.format(path=file)) from error
    if not is_step:
        raise ValueError(Errors.P188.format(path=file))
    if shared != _shared(run):
        raise ValueError(Errors.P189.format(path=file))
    return state


def _write(file: Path, step: int, run: str, training: dict[str, Any]) -> None:
    """Write a checkpoint; a stop while it is written leaves the one before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    torch.save({"step": step, "run": run, "training": training}, part)
    os.replace(part, file)
