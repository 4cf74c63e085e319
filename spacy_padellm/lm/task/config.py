"""`padellm.json`: the task that the model of a folder was trained for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from spacy_padellm.errors import Errors
from spacy_padellm.lm.task.reading import as_file_errors
from spacy_padellm.lm.task.tags import TaughtTags, read_old_tags
from spacy_padellm.lm.trust.fields import (
    as_flag,
    as_given,
    as_mapping,
    as_name,
    as_names,
    as_number,
    as_probability,
    as_text,
)
from spacy_padellm.lm.trust.links import check_link
from spacy_padellm.mention.calibration import Calibration, Measure, Promise, Tuning
from spacy_padellm.prompt.template import Prompt

SETTINGS_FILE = "padellm.json"
_SHOWN = 600  # characters of an error in a message


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """What a model was trained for.

    labels (dict[str, str]): Label -> its name in the prompt.
    prompt (Prompt): The templates.
    tuning (Tuning): Thresholds and calibration of its probabilities, and its promise.
    output_format (str): The format of the answers that the model was trained to give;
        see `Decoder`. Empty if it is not known.
    tags (TaughtTags | None): The tags that the model was trained to give the tokens of
        its texts. None if the folder says nothing about tags.
    """

    labels: dict[str, str]
    prompt: Prompt
    tuning: Tuning = field(default_factory=Tuning)
    output_format: str = ""
    tags: TaughtTags | None = None

    def to_json(self) -> str:
        """The settings as the text of the file."""
        settings: dict[str, Any] = {
            "labels": self.labels,
            "prompt": self.prompt.to_dict(),
        }
        if self.tuning.thresholds:
            settings["thresholds"] = dict(self.tuning.thresholds)
        if self.tuning.calibration != Calibration():
            settings["calibration"] = asdict(self.tuning.calibration)
        if self.tuning.promise is not None:
            settings["promise"] = _promise_to_dict(self.tuning.promise)
        if self.output_format:
            settings["answers"] = self.output_format
        if self.tags is not None:
            settings["tags"] = self.tags.to_dict()
        return json.dumps(settings, ensure_ascii=False, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str) -> TaskSettings:
        """Parse the text of the file.

        text (str): The text.
        source (str): The file's path, for the error message.
        RAISES (ValueError): If `to_json` would not write such a text.
        """
        with _as_settings_errors(source):
            settings = as_mapping(json.loads(text), "content", as_given)
            labels = as_mapping(settings.get("labels"), "labels", as_name)
            stored = settings.get("thresholds", {})
            thresholds = as_mapping(stored, "thresholds", as_probability)
            scale = settings.get("calibration", {})
            calibration = Calibration(**as_mapping(scale, "calibration", as_number))
            promise = settings.get("promise")
            if promise is not None:
                promise = _read_promise(as_mapping(promise, "promise", as_given))
            tuning = Tuning(thresholds, calibration, promise)
            pieces = as_mapping(settings.get("prompt"), "prompt", as_given)
            known = {k: v for k, v in _PROMPT_FIELDS.items() if k in pieces}
            checked = {k: as_(pieces[k], f"prompt.{k}") for k, as_ in known.items()}
            prompt = Prompt.from_dict({**pieces, **checked})
            output_format = as_text(settings.get("answers", ""), "answers")
            tags = settings.get("tags")
            if tags is not None:
                tags = TaughtTags.from_dict(as_mapping(tags, "tags", as_given))
            return cls(labels, prompt, tuning, output_format, tags)


def _promise_to_dict(promise: Promise) -> dict[str, Any]:
    rate = promise.rate
    return {
        promise.measure: dict(rate) if isinstance(rate, Mapping) else rate,
        "confidence": promise.confidence,
        "thresholds": dict(promise.thresholds),
    }


def _read_promise(promise: Mapping[str, Any]) -> Promise:
    measure: Measure = "recall" if "recall" in promise else "precision"
    field, value = f"promise.{measure}", promise.get(measure)
    rate: float | dict[str, float]
    if isinstance(value, dict):
        rate = as_mapping(value, field, as_probability)
    else:
        rate = as_probability(value, field)
    stored = promise.get("thresholds")
    return Promise(
        measure,
        rate,
        as_probability(promise.get("confidence"), "promise.confidence"),
        as_mapping(stored, "promise.thresholds", as_probability),
    )


_PROMPT_FIELDS: dict[str, Callable[[Any, str], Any]] = {
    "text": as_text,
    "label": as_text,
    "count": as_text,
    "mention": as_text,
    "none": as_text,
    "whole": as_flag,
    "special_tokens": as_names,
    "prefix_lm": as_flag,
}


@contextmanager
def _as_settings_errors(source: str) -> Iterator[None]:
    """Turn the errors of settings with a wrong shape into one message."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = Errors.P105.format(source=source, error=str(error)[:_SHOWN])
        raise ValueError(message) from error


def read_settings(folder: Path) -> TaskSettings | None:
    """Read the settings of a model folder.

    folder (Path): The model folder.
    RETURNS (TaskSettings | None): None if the folder has no `padellm.json`.
    RAISES (ValueError): If a file cannot be read, or is a link out of the folder.
    """
    path = folder / SETTINGS_FILE
    with as_file_errors(path):
        if not path.is_file():
            return None
        check_link(path, folder)
        content = path.read_bytes()
    with _as_settings_errors(str(path)):
        text = content.decode("utf8")
    settings = TaskSettings.from_json(text, source=str(path))
    if settings.tags is None:
        settings = replace(settings, tags=read_old_tags(folder))
    return settings


def read_taught_tags(folder: Path) -> TaughtTags | None:
    """Read the tags that the model of a folder was trained to give.

    folder (Path): The model folder.
    RETURNS (TaughtTags | None): None if the folder says nothing about tags.
    RAISES (ValueError): If a file cannot be read.
    """
    settings = read_settings(folder)
    return read_old_tags(folder) if settings is None else settings.tags


def check_taught_tags(tags: TaughtTags | None, count: int, *, folder: Path) -> None:
    """Check that a model has the tokens that stand for tags.

    tags (TaughtTags | None): The tags, or None if there are none.
    count (int): The number of the model's tokens.
    folder (Path): The folder from which the tags were read.
    RAISES (ValueError): If it does not.
    """
    if tags is None:
        return
    largest = max((*tags.inside.values(), *tags.begins.values()), default=-1)
    if largest >= count:
        own = folder / SETTINGS_FILE
        path = own if own.is_file() else folder / "config.json"  # of earlier versions
        raise ValueError(Errors.P1011.format(path=path, token=largest, count=count))


def write_settings(folder: Path, settings: TaskSettings) -> None:
    """Write the settings to a model folder.

    folder (Path): The model folder.
    settings (TaskSettings): The settings.
    """
    (folder / SETTINGS_FILE).write_text(settings.to_json(), "utf8")


def reconcile(
    *,
    labels: Mapping[str, str],
    prompt: Prompt | None,
    carried: TaskSettings | None,
    source: str,
    component: str,
) -> tuple[dict[str, str], Prompt | None]:
    """Combine the settings of the config with those of the model folder.

    labels (Mapping[str, str]): The config's labels. If empty, the model's labels are
        used. The config may choose some of the model's labels, or add labels.
    prompt (Prompt | None): The config's prompt. If None, the model's prompt is used.
    carried (TaskSettings | None): The settings of the model folder.
    source, component (str): The names of the model and of the component, for the error
        message.
    RETURNS (tuple[dict[str, str], Prompt | None]): The labels and the prompt to use.
    RAISES (ValueError): If the config contradicts the model folder.
    """
    if carried is None:
        return dict(labels), prompt
    check_names(labels, carried.labels, source=source)
    if prompt is not None and prompt != carried.prompt:
        raise ValueError(Errors.P107.format(source=source, name=component))
    return dict(labels or carried.labels), carried.prompt


def check_names(
    names: Mapping[str, str], trained: Mapping[str, str], *, source: str
) -> None:
    """Check that labels have the names that the model was trained with.

    names (Mapping[str, str]): Label -> its name in the prompt.
    trained (Mapping[str, str]): The names of the model's labels.
    source (str): The name of the model, for the error message.
    RAISES (ValueError): If the model was trained with another name for a label.
    """
    for label, name in names.items():
        trained_name = trained.get(label, name)
        if trained_name != name:
            message = Errors.P106.format(
                source=source, label=label, name=name, trained=trained_name
            )
            raise ValueError(message)
