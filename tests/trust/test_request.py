"""What a config says about trust needs the word of the environment."""

from __future__ import annotations

from pathlib import Path

import pytest
import spacy
from helpers import LABELS, TEXT, make_nlp, named, pipe_of
from spacy.language import Language
from trust_helpers import write_code, write_model

PROMPT = {"@misc": "spacy-padellm.Prompt.v1", "preset": "paper-en"}


@pytest.fixture(autouse=True)
def no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PADELLM_TRUST_REMOTE_CODE", raising=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def trusting(model: Path) -> Language:
    settings = {"trust_remote_code": True}
    config = named(model, model=settings)
    return make_nlp(model=config, labels=LABELS, prompt=PROMPT)


@pytest.fixture
def saved(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline with code, saved while the environment granted it."""
    monkeypatch.setenv("PADELLM_TRUST_REMOTE_CODE", "1")
    write_code(model / "custom_generate" / "generate.py", tmp_path / "trace")
    trusting(model).to_disk(tmp_path / "nlp")
    monkeypatch.delenv("PADELLM_TRUST_REMOTE_CODE")
    return tmp_path / "nlp"


@pytest.mark.parametrize("word", [None, "0", "", "yes"])
def test_request_of_a_config_is_refused(
    model: Path, word: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if word is not None:
        monkeypatch.setenv("PADELLM_TRUST_REMOTE_CODE", word)
    with pytest.raises(ValueError, match="set PADELLM_TRUST_REMOTE_CODE=1 in the"):
        trusting(model)


def test_request_is_granted_by_the_environment(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PADELLM_TRUST_REMOTE_CODE", "1")
    assert pipe_of(trusting(model)).handle.source.trust_remote_code


def test_request_of_a_saved_pipeline_is_refused(saved: Path) -> None:
    with pytest.raises(ValueError, match="set PADELLM_TRUST_REMOTE_CODE=1 in the"):
        spacy.load(saved)


def test_request_that_is_withdrawn_at_load_runs_no_code(
    saved: Path, tmp_path: Path
) -> None:
    key = "components.padellm_ner.model.trust_remote_code"
    with pytest.raises(ValueError, match="files outside it, which are not trusted"):
        spacy.load(saved, config={key: False})
    assert not (tmp_path / "trace").exists()


def test_request_is_not_needed_by_a_model_without_code(model: Path) -> None:
    nlp = make_nlp(model=named(model), labels=LABELS, prompt=PROMPT)
    assert nlp(TEXT).text == TEXT


def test_request_to_save_a_model_with_code_is_refused(
    model: Path, tmp_path: Path
) -> None:
    write_code(model / "custom_generate" / "generate.py", tmp_path / "trace")
    nlp = make_nlp(model=named(model), labels=LABELS, prompt=PROMPT)
    with pytest.raises(ValueError, match="files outside it, which are not trusted"):
        nlp.to_disk(tmp_path / "nlp")
    assert not list((tmp_path / "nlp").rglob("*.py"))
