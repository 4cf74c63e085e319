"""`padellm.json`: what a model folder says of the task it was trained for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spacy_padellm.errors import Errors
from spacy_padellm.mention.calibration import Calibration, Tuning
from spacy_padellm.prompt.template import Prompt

FILE_NAME = "padellm.json"


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """The labels and the prompt that a model was trained with.

    labels (dict[str, str]): Label -> its name in the prompt.
    prompt (Prompt): The templates.
    tuning (Tuning): How its mentions are judged.
    output_format (str): What the model was trained to answer; see `Decoder`. Empty
        if that is not known.
    """

    labels: dict[str, str]
    prompt: Prompt
    tuning: Tuning = field(default_factory=Tuning)
    output_format: str = ""

    def to_json(self) -> str:
        settings: dict[str, Any] = {
            "labels": self.labels,
            "prompt": self.prompt.to_dict(),
        }
        if self.tuning.thresholds:
            settings["thresholds"] = dict(self.tuning.thresholds)
        if self.tuning.calibration != Calibration():
            settings["calibration"] = asdict(self.tuning.calibration)
        if self.output_format:
            settings["answers"] = self.output_format
        return json.dumps(settings, ensure_ascii=False, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str) -> TaskSettings:
        """Read the file's text.

        source (str): Where it comes from, for the error message.
        RAISES (ValueError): If it is not what `to_json` writes.
        """
        try:
            settings = json.loads(text)
            labels = {str(k): str(v) for k, v in settings["labels"].items()}
            stored = settings.get("thresholds", {})
            thresholds = {str(k): float(v) for k, v in stored.items()}
            scale = settings.get("calibration", {})
            calibration = Calibration(**{str(k): float(v) for k, v in scale.items()})
            tuning = Tuning(thresholds, calibration)
            prompt = Prompt.from_dict(settings["prompt"])
            return cls(labels, prompt, tuning, str(settings.get("answers", "")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = Errors.P105.format(source=source, error=error)
            raise ValueError(message) from error


def read_settings(folder: Path) -> TaskSettings | None:
    """The settings of a local model folder, or None if it carries none."""
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    return TaskSettings.from_json(path.read_text("utf8"), source=str(path))


def write_settings(folder: Path, settings: TaskSettings) -> None:
    """Write the settings into a model folder."""
    (folder / FILE_NAME).write_text(settings.to_json(), "utf8")


def reconcile(
    *,
    labels: Mapping[str, str],
    prompt: Prompt | None,
    carried: TaskSettings | None,
    source: str,
) -> tuple[dict[str, str], Prompt | None]:
    """Bring what the config says together with what the model folder says.

    labels (Mapping[str, str]): The config's labels; empty takes the model's. The
        config may choose some of the model's labels, or add to them.
    prompt (Prompt | None): The config's prompt; None takes the model's.
    carried (TaskSettings | None): The model folder's settings.
    source (str): The model's name, for the error message.
    RETURNS (tuple[dict[str, str], Prompt | None]): The labels and the prompt to use.
    RAISES (ValueError): If the two contradict each other.
    """
    if carried is None:
        return dict(labels), prompt
    for label, name in labels.items():
        trained = carried.labels.get(label, name)
        if trained != name:
            raise ValueError(
                Errors.P106.format(
                    source=source, label=label, name=name, trained=trained
                )
            )
    if prompt is not None and prompt != carried.prompt:
        raise ValueError(Errors.P107.format(source=source))
    return dict(labels or carried.labels), carried.prompt
