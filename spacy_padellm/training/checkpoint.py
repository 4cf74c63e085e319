"""Checkpoints of a training run, so that the same command continues after a stop.

The corpus is read again from its start, and the steps that the checkpoint holds are
skipped, with their evaluations: the order of the texts and the learning rate are those
of a run without a stop.
"""

from __future__ import annotations

import errno
import io
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from tempfile import TemporaryFile
from typing import Any

import torch
from spacy.language import Language
from wasabi import msg

from spacy_padellm.checks import is_whole
from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.factory_name import FACTORY
from spacy_padellm.training.run_identity import Run, differences, run_of

CHECKPOINTS = "spacy-padellm.checkpoints.v1"
FILE_NAME = "training.pt"
_NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your share of the disk is full",
    errno.EFBIG: "the limit on the size of a file was reached",
}
_SHOWN = 5  # differences in a message


def make_checkpoints(
    path: str, *, minutes: float = 10.0, component: str = FACTORY
) -> Callable[[Language, dict[str, Any]], None]:
    """`spacy-padellm.checkpoints.v1`: for `[training.before_update]`.

    path (str): Folder of the checkpoint: weights and optimizer state, in float32.
    minutes (float): Time between two checkpoints.
    component (str): The component's name.
    RETURNS (Callable): Called before each step. It continues from the checkpoint, and
        raises a ValueError if that belongs to another run, or is damaged, or the
        training has no seed.
    RAISES (ValueError): The same, if the component was initialized for a training.
    """
    file = Path(path) / FILE_NAME
    checked = _checked.get(file)
    if checked is not None and checked.error is not None:
        del _checked[file]  # the next training is another one
        raise checked.error
    if checked is not None:
        _check_writable(file)
    return _Checkpoints(file, 60 * minutes, component)


@dataclass(frozen=True, slots=True)
class _Checked:
    """What was found when a component was initialized for a training.

    run (Run): The training, with the files as they were.
    error (ValueError | None): Why it cannot continue from its checkpoint.
    """

    run: Run
    error: ValueError | None


# by the checkpoint's file
_checked: dict[Path, _Checked] = {}


class _Checkpoints:
    """Continues a run, skips the steps of the checkpoint, and writes new ones."""

    def __init__(self, file: Path, seconds: float, component: str) -> None:
        self._file = file
        self._seconds = seconds
        self._component = component
        self._run: Run = {}
        self._done = 0  # steps of the checkpoint that the run continues from
        self._started = self._saved = time.monotonic()
        self._stamp: tuple[int, int] | None = None  # of the file that is the run's own

    def __call__(self, nlp: Language, args: dict[str, Any]) -> None:
        pipe: Any = nlp.get_pipe(self._component)
        step = args["step"]
        if not step:
            # files may change while they are trained on
            checked = _checked.get(self._file)
            files = checked.run["files"] if checked else None
            self._run = run_of(nlp, files=files)
            if self._run["training"].get("patience"):
                logger.warning(Warnings.W970)
            self._stamp = _stamp(self._file)
            state = _read_checked(self._file, self._run)
            if state is not None:
                self._continue(pipe, state)
        if step == self._done:
            self._started = time.monotonic()
        pipe.skips_step = step < self._done
        is_due = time.monotonic() - self._saved > self._seconds
        if step > self._done and is_due:
            self._save(pipe, step)

    def _continue(self, pipe: Any, state: dict[str, Any]) -> None:
        try:
            pipe.set_training_state(state["training"])
        except (KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise ValueError(Errors.P188.format(path=self._file)) from error
        self._done = state["step"]
        msg.info(f"Continues at step {self._done} from {self._file}")

    def _save(self, pipe: Any, step: int) -> None:
        training = pipe.get_training_state()
        if training is None:
            return  # no text was annotated so far
        if self._stamp != (stamp := _stamp(self._file)) and stamp is not None:
            logger.warning(Warnings.W971.format(path=self._file))
        _write(self._file, {"step": step, "run": self._run, "training": training})
        self._stamp = _stamp(self._file)
        self._saved = time.monotonic()
        seconds = (self._saved - self._started) / (step - self._done)
        msg.info(f"Checkpoint at step {step}, {seconds:.1f} s a step")


def check_checkpoint(nlp: Language, *, component: str) -> None:
    """Check the checkpoint that a training will continue from, if it has one.

    `spacy train` deletes the models of the training before when it begins, and then
    calls what `make_checkpoints` returned: too late for an error. So the error is kept
    for `make_checkpoints`, which is called just before.

    nlp (Language): The pipeline that is initialized.
    component (str): The component whose checkpoint it is.
    """
    training = nlp.config.interpolate()["training"]
    settings = training.get("before_update") or {}
    own = settings.get("component", FACTORY)
    if settings.get("@callbacks") != CHECKPOINTS:
        return
    if own != component and _is_ours(nlp, own):
        return
    file = Path(settings["path"]) / FILE_NAME
    _checked.pop(file, None)
    try:
        run = run_of(nlp)
    except OSError:
        return  # it is no training, or one that will tell so
    error = None
    try:
        _check_component(nlp, own, known=component)
        # mapped, as the check needs little of it
        _read_checked(file, run, mapped=True)
    except ValueError as refused:
        error = refused
    _checked[file] = _Checked(run, error)


def _read_checked(
    file: Path, run: Run, *, mapped: bool = False
) -> dict[str, Any] | None:
    """The state that a run continues from; None if there is no checkpoint."""
    training = run["training"]
    if training["seed"] is None:
        raise ValueError(Errors.P962)
    if not _is_there(file):
        return None
    state = _read(file, run, mapped=mapped)
    if state["step"] and training.get("patience"):
        raise ValueError(Errors.P940.format(done=state["step"]))
    most = training["max_steps"]
    if 0 < most < state["step"]:
        message = Errors.P960.format(path=file, done=state["step"], most=most)
        raise ValueError(message)
    return state


def _read(file: Path, run: Run, *, mapped: bool) -> dict[str, Any]:
    try:
        stored = torch.load(file, weights_only=True, map_location="cpu", mmap=mapped)
        state = {key: stored[key] for key in ("run", "step", "training")}
        different = differences(state["run"], run)
        is_step = is_whole(state["step"])
    except OSError as error:
        raise _unusable(file, error) from error
    except Exception as error:
        raise ValueError(Errors.P188.format(path=file)) from error
    if not is_step:
        raise ValueError(Errors.P188.format(path=file))
    if different:
        names = ", ".join(different[:_SHOWN])
        raise ValueError(Errors.P189.format(path=file, names=names))
    return state


def _is_ours(nlp: Language, component: str) -> bool:
    """Whether a pipeline has a component that can be trained from a checkpoint."""
    names = nlp.component_names
    return component in names and hasattr(nlp.get_pipe(component), "skips_step")


def _check_component(nlp: Language, own: str, *, known: str) -> None:
    if not _is_ours(nlp, own):
        raise ValueError(Errors.P1003.format(component=own, name=known))


def _check_writable(file: Path) -> None:
    """Check that a checkpoint can be written, before a step is made."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise _unusable(file, error) from error


def _is_there(file: Path) -> bool:
    try:
        is_file = S_ISREG(file.stat().st_mode)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unusable(file, error) from error
    if not is_file:
        raise _unusable(file, "it is no file")
    return True


def _unusable(file: Path, error: OSError | str) -> ValueError:
    found = error if isinstance(error, str) else error.strerror or error
    return ValueError(Errors.P995.format(path=file, error=found))


def _stamp(file: Path) -> tuple[int, int] | None:
    """What tells a file from one that replaced it; None if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _write(file: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; a stop while it is written leaves the one before, and so
    does an error."""
    part = file.with_suffix(".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _Noting(part.open("wb", buffering=0)) as content:
            _save(state, content)
            content.flush()
            os.fsync(content.fileno())  # or a power failure could leave an empty file
        os.replace(part, file)
    except (OSError, RuntimeError) as error:  # torch has errors of its own of a file
        with suppress(OSError):
            part.unlink()
        found = _words(error)
        message = Errors.P1000.format(path=file, step=state["step"], error=found)
        raise ValueError(message) from error


class _Noting(io.BufferedWriter):
    """A file that notes the system's error, which torch hides."""

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise


def _save(state: dict[str, Any], content: _Noting) -> None:
    """Write a state to a file.

    RAISES (OSError): If it cannot be written.
    """
    try:
        torch.save(state, content)
    except Exception:
        if content.error is not None:
            raise content.error from None
        raise


def _words(error: Exception) -> str:
    """The words of an error while a file is written, and what they mean."""
    meaning = _NO_ROOM.get(getattr(error, "errno", None) or 0)
    words = getattr(error, "strerror", None) or str(error)
    return f"{meaning} ({words})" if meaning else words
