"""Names of models: what they stand for, before anything is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from conftest import make_lm

from spacy_padellm.lm.handle.handle import ModelHandle
from spacy_padellm.lm.handle.source import ModelSource
from spacy_padellm.lm.loading import load_model, load_tokenizer
from spacy_padellm.lm.lora import with_lora
from spacy_padellm.lm.model_names import check_name, check_source
from spacy_padellm.lm.saving.folder import write_model_folder
from spacy_padellm.lm.task.config import TaskSettings
from spacy_padellm.prompt.template import PRESETS

LONG = [
    "x" * 256,
    "/tmp/" + "x" * 256,
    "ä" * 128,
    "x" * 256 + ".gguf",
    "a/" * 3000,
]


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("load", [load_model, load_tokenizer, check_name])
def test_model_names_that_are_too_long_are_an_error(name: str, load: Any) -> None:
    with pytest.raises(ValueError, match=f"the model {name[:50]}.*too long.*Give the"):
        load(name)


@pytest.mark.parametrize("name", LONG)
def test_model_names_of_a_handle_may_be_too_long_until_it_is_used(name: str) -> None:
    handle = ModelHandle(ModelSource(name))
    for use in (handle.lm, handle.check, handle.hub_settings):
        with pytest.raises(ValueError, match=r"Cannot look for .*: File name too"):
            use()


@pytest.mark.parametrize("load", [load_model, load_tokenizer, check_name])
def test_model_names_of_a_pipeline_tell_the_models_folder(
    load: Any, tmp_path: Path
) -> None:
    model = tmp_path / "ner" / "model"
    model.mkdir(parents=True)
    for file in (
        tmp_path / "config.cfg",
        tmp_path / "tokenizer",
        model / "config.json",
    ):
        file.touch()
    with pytest.raises(ValueError, match=rf"give the model folder .*, {model}\."):
        load(str(tmp_path))


def test_model_names_in_folders_that_are_closed_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stat = os.stat

    def fail(path: Any, **options: Any) -> os.stat_result:
        if str(path).startswith("/closed"):
            raise PermissionError(13, "Permission denied")
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", fail)
    with pytest.raises(ValueError, match=r"the model /closed/model: Permission"):
        check_source("/closed/model", revision=None)


@pytest.mark.parametrize("length", [256, 4090])
def test_model_names_of_bases_that_are_too_long_are_an_error(
    tmp_path: Path, length: int
) -> None:
    pytest.importorskip("peft")
    base, short = make_lm("llama"), "x" * 99 + "/"
    name = ("x" * 256 if length == 256 else short * 41)[:length]
    lm = with_lora(base, {"r": 2}, name=name, revision=None, new_tokens=[])
    settings = TaskSettings({}, PRESETS["compact"])
    write_model_folder(tmp_path / "adapter", lm, settings, dtype=lm.dtype)
    with pytest.raises(ValueError, match=f"needs the base model {name[:50]}"):
        load_model(str(tmp_path / "adapter"))
