"""Tests of `padellm init-config`."""

from __future__ import annotations

from pathlib import Path

import pytest
from thinc.api import Config
from typer.testing import CliRunner

from spacy_padellm.cli.app import padellm_cli
from spacy_padellm.cli.init_config import CONFIGS, read_config


def init_config(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(padellm_cli, ["init-config", *arguments])
    return result.exit_code, result.output


@pytest.mark.parametrize("name", CONFIGS)
def test_init_config_writes_a_config_of_the_component(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _ = init_config(name)
    assert code == 0
    config = Config().from_disk(tmp_path / f"{name}.cfg", interpolate=False)
    assert config["components"]["padellm_ner"]["factory"] == "padellm_ner"


def test_init_config_writes_to_a_path(tmp_path: Path) -> None:
    path = tmp_path / "new" / "my.cfg"
    code, output = init_config("train", str(path))
    assert code == 0
    assert path.read_text("utf8") == read_config("train")
    assert "python -m spacy train" in output


def test_init_config_asks_for_the_model_that_only_quantize_goes_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asking = [name for name in CONFIGS if "--paths.model" in init_config(name)[1]]
    assert asking == ["quantize"]


def test_init_config_says_how_new_labels_are_named_where_it_trains_a_model_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    option = "--initialize.components.padellm_ner.new_labels.DRUG drug"
    naming = [
        name for name in CONFIGS if option in " ".join(init_config(name)[1].split())
    ]
    assert naming == ["continue"]


def test_init_config_prints_with_a_dash() -> None:
    assert init_config("train", "-") == (0, read_config("train"))


def test_init_config_takes_the_name_with_its_suffix() -> None:
    assert read_config("train.cfg") == read_config("train")


def test_init_config_replaces_a_file_with_force_alone(tmp_path: Path) -> None:
    path = tmp_path / "train.cfg"
    path.write_text("mine", "utf8")
    code, output = init_config("train", str(path))
    assert (code, path.read_text("utf8")) == (1, "mine")
    assert "--force" in output
    assert init_config("train", str(path), "--force")[0] == 0
    assert path.read_text("utf8") == read_config("train")


def test_init_config_names_the_configs_that_exist() -> None:
    code, output = init_config("trian")
    assert code == 1
    assert "trian" in output
    assert "finetune" in output


@pytest.mark.parametrize("path", ["/dev/full", "x" * 300 + ".cfg"])
def test_init_config_tells_that_the_file_cannot_be_written(
    tmp_path: Path, path: str
) -> None:
    code, output = init_config("train", str(tmp_path / path), "--force")
    assert code == 1
    assert "Cannot write" in output


def test_init_config_of_a_name_with_its_suffix_writes_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert init_config("train.cfg")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["train.cfg"]
