"""`padellm.json`, and how it is brought together with the config."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spacy_padellm.lm.task.config import (
    SETTINGS_FILE,
    TaskSettings,
    read_settings,
    reconcile,
)
from spacy_padellm.lm.task.tags import TaughtTags
from spacy_padellm.mention.calibration import Calibration, Promise, Tuning
from spacy_padellm.prompt.template import PRESETS

PROMPT = PRESETS["paper-en"]
CARRIED = TaskSettings({"PER": "person", "ORT": "Ort "}, PROMPT)
MODEL = {"source": "m", "component": "ner"}


def settled(labels: dict[str, str]) -> dict[str, str]:
    return reconcile(labels=labels, prompt=None, carried=CARRIED, **MODEL)[0]


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_task_config_survive_json(preset: str) -> None:
    settings = TaskSettings({"PER": "person", "地名": "地 "}, PRESETS[preset])
    assert TaskSettings.from_json(settings.to_json(), source="x") == settings


def test_task_config_with_a_tuning_survive_json() -> None:
    tuning = Tuning({"PER": 0.25}, Calibration(0.7, -0.4))
    settings = TaskSettings({"PER": "person"}, PROMPT, tuning)
    assert TaskSettings.from_json(settings.to_json(), source="x") == settings


@pytest.mark.parametrize("rate", [0.9, {"PER": 0.9, "LOC": 0.8}])
def test_task_config_with_a_promise_survive_json(
    rate: float | dict[str, float],
) -> None:
    tuning = Tuning(promise=Promise("precision", rate, 0.9, {"PER": 0.7}))
    settings = TaskSettings({"PER": "person"}, PROMPT, tuning)
    assert TaskSettings.from_json(settings.to_json(), source="x") == settings


def test_task_config_with_tags_survive_json() -> None:
    tags = TaughtTags({"person": 7}, {"person": 8}, [["person"], ["a", "b"]], True)
    settings = TaskSettings({"PER": "person"}, PROMPT, tags=tags)
    assert TaskSettings.from_json(settings.to_json(), source="x") == settings


def test_task_config_file_holds_plain_unicode() -> None:
    assert "地名" in TaskSettings({"地名": "x"}, PROMPT).to_json()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"labels": {"A": "a"}}',
        '{"labels": ["A"], "prompt": {}}',
        '{"labels": {"A": "a"}, "prompt": {"text": "{text}"}}',
        '{"labels": {"A": "a"}, "prompt": null}',
        json.dumps({**json.loads(CARRIED.to_json()), "thresholds": {"A": "high"}}),
        json.dumps({**json.loads(CARRIED.to_json()), "calibration": {"slope": -1}}),
        json.dumps({**json.loads(CARRIED.to_json()), "calibration": {"steep": 1}}),
        json.dumps({**json.loads(CARRIED.to_json()), "tags": ["person"]}),
        json.dumps({**json.loads(CARRIED.to_json()), "tags": {"inside": {"a": "b"}}}),
    ],
)
def test_task_config_unreadable_file_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text(text, "utf8")
    with pytest.raises(ValueError, match=r"Cannot read .*padellm.json.* Restore it"):
        read_settings(tmp_path)


def test_task_config_of_a_folder_without_the_file_are_none(tmp_path: Path) -> None:
    assert read_settings(tmp_path) is None


def test_task_config_are_read_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text(CARRIED.to_json(), "utf8")
    assert read_settings(tmp_path) == CARRIED


def test_task_config_unknown_prompt_setting_is_an_error() -> None:
    raw = json.loads(CARRIED.to_json())
    raw["prompt"]["colour"] = "red"
    with pytest.raises(ValueError, match="colour"):
        TaskSettings.from_json(json.dumps(raw), source="x")


def test_task_config_reconcile_without_a_models_keeps_the_configs() -> None:
    names = {"A": "a"}
    got = reconcile(labels=names, prompt=PROMPT, carried=None, **MODEL)
    assert got == (names, PROMPT)


def test_task_config_reconcile_takes_the_models_labels() -> None:
    assert settled({}) == CARRIED.labels


def test_task_config_reconcile_takes_the_models_prompt() -> None:
    assert reconcile(labels={}, prompt=None, carried=CARRIED, **MODEL)[1] == PROMPT


def test_task_config_reconcile_lets_the_config_choose_labels() -> None:
    assert settled({"PER": "person"}) == {"PER": "person"}


def test_task_config_reconcile_lets_the_config_add_labels() -> None:
    labels = {"PER": "person", "NEW": "new"}
    assert settled(labels) == labels


def test_task_config_reconcile_refuses_another_name() -> None:
    with pytest.raises(
        ValueError, match=r"label 'PER' has the name 'human'.*with the name 'person'"
    ):
        settled({"PER": "human"})


def test_task_config_reconcile_refuses_another_prompt() -> None:
    message = r"not the one that the model 'm' was.*\[components\.ner\.prompt\]"
    with pytest.raises(ValueError, match=message):
        reconcile(labels={}, prompt=PRESETS["compact"], carried=CARRIED, **MODEL)


def test_task_config_reconcile_accepts_the_same_prompt() -> None:
    got = reconcile(labels={}, prompt=PROMPT, carried=CARRIED, **MODEL)
    assert got[1] == PROMPT


def test_task_config_reconciled_labels_are_a_copy() -> None:
    settled({})["X"] = "x"
    assert "X" not in CARRIED.labels
