"""`padellm.json` is checked field by field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spacy_padellm.lm.task.config import SETTINGS_FILE, TaskSettings, read_settings
from spacy_padellm.lm.task.tags import TaughtTags
from spacy_padellm.mention.calibration import Calibration, Promise, Tuning
from spacy_padellm.prompt.template import PRESETS

TAGS = TaughtTags({"person": 7}, {"person": 8}, [["person"]], True)
PROMISE = Promise("recall", {"PER": 0.9}, 0.9, {"PER": 0.2})
TUNING = Tuning({"PER": 0.5}, Calibration(0.7, -0.4), PROMISE)
SETTINGS = TaskSettings({"PER": "person"}, PRESETS["compact"], TUNING, "x", TAGS)


def read_with(folder: Path, field: str, value: Any) -> TaskSettings | None:
    """Read settings of which one field is changed; dots lead to inner fields."""
    settings = json.loads(SETTINGS.to_json())
    *outer, last = field.split(".")
    inner = settings
    for key in outer:
        inner = inner[key]
    inner[last] = value
    (folder / SETTINGS_FILE).write_text(json.dumps(settings), "utf8")
    return read_settings(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("thresholds.PER", v) for v in (5, -3, True, "0.5", None, float("nan"), [])),
        *(("calibration.slope", v) for v in (True, "1", float("inf"), 10**400, None)),
        ("calibration.offset", float("nan")),
        *(("labels.PER", value) for value in (5, "", None, ["person"], True, {})),
        *((f"prompt.{name}", 5) for name in ("text", "label", "count", "mention")),
        ("prompt.none", False),
        *((f"prompt.{f}", v) for f in ("whole", "prefix_lm") for v in ("false", 1)),
        *(("prompt.special_tokens", value) for value in ("<|label|>", {}, None)),
        ("answers", 5),
        *(("tags.overlaps", value) for value in ("false", 0, None)),
        *(("tags.inside.person", v) for v in (-1, 7.5, "7", True, None)),
        ("tags.begins.person", -1),
        *(("tags.sets", value) for value in ("person", {"person": 1})),
        *(
            (f"promise.{f}", v)
            for f in ("recall", "confidence")
            for v in (2, "1", None)
        ),
        *((f"promise.{f}.PER", 2) for f in ("recall", "thresholds")),
        ("promise", 0.9),
        ("promise.thresholds", None),
        ("labels", ["PER"]),
        ("labels", None),
        ("thresholds", None),
        ("calibration", 1),
        ("prompt", "compact"),
        ("tags", "person"),
    ],
)
def test_settings_file_with_a_wrong_value_names_file_and_field(
    tmp_path: Path, field: str, value: Any
) -> None:
    with pytest.raises(
        ValueError, match=rf"Cannot read .*{SETTINGS_FILE}: its {field} is"
    ):
        read_with(tmp_path, field, value)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("prompt.special_tokens", ["a", 5], r"prompt.special_tokens\[1\]"),
        ("tags.sets", ["person"], r"tags.sets\[0\]"),
        ("tags.sets", [["person", 5]], r"tags.sets\[0\]\[1\]"),
        ("labels", {"": "person"}, "a key of labels"),
        ("labels", {"PER": "\ud800"}, "labels.PER"),
    ],
)
def test_settings_file_names_the_field_inside_a_list(
    tmp_path: Path, field: str, value: Any, named: str
) -> None:
    with pytest.raises(ValueError, match=f"its {named} is"):
        read_with(tmp_path, field, value)


@pytest.mark.parametrize(
    "template", ["{text:>24000000000}", "{text!r}", "{text:{text}}", "{text.x}"]
)
def test_settings_file_with_a_formatted_template_is_refused(
    tmp_path: Path, template: str
) -> None:
    with pytest.raises(ValueError, match=r"(?s)padellm\.json.*template 'text' must"):
        read_with(tmp_path, "prompt.text", template)


@pytest.mark.parametrize("content", ["[" * 100_000, "[1]", "5", "null", '{"a": NaN}'])
def test_settings_file_of_another_shape_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / SETTINGS_FILE).write_text(content, "utf8")
    with pytest.raises(ValueError, match=r"Cannot read .*padellm\.json"):
        read_settings(tmp_path)


def test_settings_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_bytes(SETTINGS.to_json().encode("utf-16"))
    with pytest.raises(ValueError, match=r"Cannot read .*padellm\.json"):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("answers", ["x"] * 100_000),
        ("prompt.text", "{" * 100_000),
        ("prompt.text", "{text}" * 100_000),
        ("prompt.count", "x" * 100_000 + "{count}"),
        ("prompt." + "x" * 100_000, 5),
        ("labels." + "x" * 100_000, 5),
    ],
)
def test_settings_file_shows_only_the_start_of_a_long_value(
    tmp_path: Path, field: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=r"Cannot read .*padellm\.json") as caught:
        read_with(tmp_path, field, value)
    assert len(str(caught.value)) < 1000


def test_settings_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    prompt = {
        "text": "{text}",
        "label": "{label}:",
        "count": "{count}",
        "mention": "{n}",
    }
    old = {"labels": {"PER": "person"}, "prompt": prompt, "thresholds": {"PER": 1}}
    (tmp_path / SETTINGS_FILE).write_text(json.dumps(old), "utf8")
    settings = read_settings(tmp_path)
    assert settings is not None
    assert settings.tuning.thresholds == {"PER": 1.0}


def test_settings_file_of_a_later_version_is_read(tmp_path: Path) -> None:
    assert read_with(tmp_path, "later", [1]) == SETTINGS


def test_settings_file_with_old_tags_names_the_field(tmp_path: Path) -> None:
    settings = TaskSettings({"PER": "person"}, PRESETS["compact"])
    (tmp_path / SETTINGS_FILE).write_text(settings.to_json(), "utf8")
    old = {"padellm_tags": {"person": "7"}}
    (tmp_path / "config.json").write_text(json.dumps(old), "utf8")
    with pytest.raises(ValueError, match=r"its tags\.inside\.person is '7'"):
        read_settings(tmp_path)
