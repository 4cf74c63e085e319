"""The handle's tokenizer for decoders that need no weights."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path

import pytest

from spacy_padellm.lm.files.bundled import BUNDLED
from spacy_padellm.lm.handle.handle import ModelHandle
from spacy_padellm.lm.handle.source import ModelSource
from spacy_padellm.lm.task.config import TaskSettings
from spacy_padellm.prompt.template import PRESETS

PROMPT = PRESETS["compact"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder without weights."""
    for path in BUNDLED["bundled-en-sm"].glob("*token*"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_handle_client_needs_only_the_tokenizer(folder: Path) -> None:
    found = ModelHandle(ModelSource(str(folder))).client_tokens(PROMPT)
    expected = ModelHandle(ModelSource("bundled-en-sm")).lm().tokens_of(PROMPT)
    texts = ["Paris <|label|> 北京"]
    assert found.count_prompts(texts, ["x"]) == expected.count_prompts(texts, ["x"])


def test_handle_client_opens_a_folder_without_weights(folder: Path) -> None:
    handle = ModelHandle(ModelSource("bundled-en-sm"))
    handle.open(folder, weights=False)
    assert handle.client_tokens(PROMPT).tokenizer.name_or_path == str(folder)
    with pytest.raises(ValueError, match=r"has no config\.json"):
        handle.open(folder)


def test_handle_client_copies_share_the_tokenizer(folder: Path) -> None:
    handle = ModelHandle(ModelSource(str(folder)))
    tokens = handle.client_tokens(PROMPT)
    assert copy.deepcopy(handle).client_tokens(PROMPT) is tokens


def test_handle_client_pickles_load_tokenizers_of_their_own(folder: Path) -> None:
    handle = ModelHandle(ModelSource(str(folder)))
    handle.needs_weights = False
    tokens = handle.client_tokens(PROMPT)
    other = pickle.loads(pickle.dumps(handle))
    assert other.client_tokens(PROMPT).tokenizer is not tokens.tokenizer
    assert handle.client_tokens(PROMPT) is tokens


@pytest.mark.parametrize("used", [False, True])
def test_handle_client_pickle_needs_no_folder(folder: Path, used: bool) -> None:
    handle = ModelHandle(ModelSource(str(folder)))
    handle.needs_weights = False
    if used:
        handle.client_tokens(PROMPT)
    data = pickle.dumps(handle)
    shutil.rmtree(folder)
    assert pickle.loads(data).client_tokens(PROMPT)


def test_handle_client_of_an_opened_folder_needs_no_folder(folder: Path) -> None:
    handle = ModelHandle(ModelSource("bundled-en-sm"))
    handle.open(folder, weights=False)
    shutil.rmtree(folder)
    assert handle.client_tokens(PROMPT)
    settings = TaskSettings({}, PROMPT)
    assert "tokenizer.json" in handle.to_files(settings, weights=False)


def test_handle_client_of_a_loaded_model_has_a_tokenizer_of_its_own() -> None:
    handle = ModelHandle(ModelSource("bundled-en-sm"))
    assert handle.client_tokens(PROMPT).tokenizer is not handle.lm().tokenizer


def test_handle_client_copies_of_a_client_from_files_work(folder: Path) -> None:
    handle = ModelHandle(ModelSource("gone"))
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    handle.from_files(files, weights=False)
    tokens = copy.deepcopy(handle).client_tokens(PROMPT)
    assert tokens.tokenizer is handle.client_tokens(PROMPT).tokenizer


def test_handle_client_without_a_tokenizer_is_an_error(tmp_path: Path) -> None:
    handle = ModelHandle(ModelSource(str(tmp_path)))
    with pytest.raises(ValueError, match="Could not load"):
        handle.client_tokens(PROMPT)
