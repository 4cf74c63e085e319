"""The handle: when a model is loaded, and what its folders are."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import NAME, model_folder, trained

import spacy_padellm.lm.handle as handle_module
from spacy_padellm.lm.devices import choose_device, choose_dtype, enter_process
from spacy_padellm.lm.folder import _cast
from spacy_padellm.lm.handle import ModelHandle
from spacy_padellm.lm.model_source import ModelSource
from spacy_padellm.lm.task_config import TaskSettings, read_settings


def make_handle(name: Path | str | None = None, **settings: Any) -> ModelHandle:
    source = ModelSource(
        str(name or model_folder()), **{"dtype": "float32", "device": "cpu", **settings}
    )
    return ModelHandle(source)


@pytest.fixture
def settings() -> TaskSettings:
    found = read_settings(model_folder())
    assert found is not None
    return found


def test_handle_without_a_name_is_empty() -> None:
    assert ModelHandle(ModelSource(None)).empty


def test_handle_of_a_folder_is_not_empty() -> None:
    assert not make_handle().empty


@pytest.mark.parametrize("use", ["lm", "trainable"])
def test_handle_that_is_empty_says_how_to_make_a_model(use: str) -> None:
    handle = ModelHandle(ModelSource(None))
    with pytest.raises(
        ValueError, match="The model does not exist yet: training creates"
    ):
        handle.lm() if use == "lm" else handle.trainable([])


def test_handle_reads_the_folders_settings(settings: TaskSettings) -> None:
    assert make_handle().settings == settings


def test_handle_of_a_missing_folder_has_no_settings() -> None:
    assert make_handle("/no/such/folder").settings is None


def test_handle_of_a_hub_name_has_no_settings_unasked() -> None:
    assert make_handle("owner/model").settings is None


def test_handle_gives_the_same_model_again() -> None:
    handle = make_handle()
    assert handle.lm() is handle.lm()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_handle_dtype_of_the_weights(dtype: str) -> None:
    assert make_handle(dtype=dtype).lm().dtype == getattr(torch, dtype)


def test_handle_dtypes_are_not_shared() -> None:
    assert make_handle().lm() is not make_handle(dtype="bfloat16").lm()


def test_handle_model_that_changed_is_loaded_again(
    tmp_path: Path, settings: TaskSettings
) -> None:
    make_handle().save(tmp_path, settings)
    before = make_handle(tmp_path).lm()
    handle = make_handle()
    handle.trainable([])
    with torch.no_grad():
        handle.lm().model.get_input_embeddings().weight.mul_(2)
    handle.save(tmp_path, settings)
    after = make_handle(tmp_path).lm()
    weights = [lm.model.get_input_embeddings().weight for lm in (before, after)]
    assert torch.equal(2 * weights[0], weights[1])


def test_handle_trainable_is_made_once() -> None:
    handle = make_handle()
    assert handle.trainable([]) is handle.trainable([]) is handle.lm()


def test_handle_trainable_adds_special_tokens() -> None:
    lm = make_handle().trainable(["<|brand new|>"])
    assert len(lm.tokenizer("<|brand new|>")["input_ids"]) == 1


def test_handle_saved_folder_is_complete(
    tmp_path: Path, settings: TaskSettings
) -> None:
    handle = make_handle()
    handle.trainable([])
    handle.save(tmp_path / "new", settings)
    make_handle().open(tmp_path / "new")
    assert read_settings(tmp_path / "new") == settings


def test_handle_unchanged_model_is_copied_byte_for_byte(
    tmp_path: Path, settings: TaskSettings
) -> None:
    make_handle().save(tmp_path, settings)
    copied = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert copied == {p.name: p.read_bytes() for p in model_folder().iterdir()}


def test_handle_save_writes_new_settings(
    tmp_path: Path, settings: TaskSettings
) -> None:
    new = TaskSettings({"PER": "person"}, settings.prompt)
    make_handle().save(tmp_path, new)
    assert read_settings(tmp_path) == replace(new, tags=settings.tags)


def test_handle_files_come_back(settings: TaskSettings) -> None:
    handle = ModelHandle(ModelSource(None, dtype="float32", device="cpu"))
    handle.from_files(make_handle().to_files(settings))
    assert handle.settings == settings
    assert handle.lm().model.state_dict().keys() == (
        make_handle().lm().model.state_dict().keys()
    )


def test_handle_files_that_are_too_large_are_an_error(
    monkeypatch: pytest.MonkeyPatch, settings: TaskSettings
) -> None:
    monkeypatch.setattr(handle_module, "MESSAGE_LIMIT", 1000)
    with pytest.raises(ValueError, match="but to_bytes can hold at most"):
        make_handle().to_files(settings)


def test_handle_opened_folder_replaces_the_trained_model() -> None:
    handle = make_handle()
    own = handle.trainable([])
    handle.open(model_folder())
    assert handle.lm() is not own


def test_handle_pickle_carries_no_shared_weights() -> None:
    handle = make_handle()
    handle.lm()
    assert len(pickle.dumps(handle)) < 1000


def test_handle_pickle_of_a_small_model_can_be_used() -> None:
    handle = make_handle()
    handle.trainable([])
    other = pickle.loads(pickle.dumps(handle))
    assert other.lm().model.num_parameters() == handle.lm().model.num_parameters()


def test_handle_deepcopy_shares_shared_weights() -> None:
    handle = make_handle()
    handle.lm()
    assert copy.deepcopy(handle).lm() is handle.lm()


def test_handle_deepcopy_has_trained_weights_of_its_own() -> None:
    handle = make_handle()
    handle.trainable([])
    assert copy.deepcopy(handle).lm() is not handle.lm()


def test_handle_forked_process_cannot_use_cuda(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda._is_in_bad_fork", lambda: True)
    with pytest.raises(ValueError, match="CUDA cannot be used in a process forked"):
        enter_process(torch.device("cuda"))


def test_handle_forked_process_can_use_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda._is_in_bad_fork", lambda: True)
    assert make_handle().lm().device.type == "cpu"


def test_handle_saved_weights_are_as_readable_as_the_settings(tmp_path: Path) -> None:
    trained().to_disk(tmp_path)
    folder = tmp_path / NAME / "model"
    modes = {path.stat().st_mode for path in folder.iterdir()}
    assert modes == {(folder / "padellm.json").stat().st_mode}


@pytest.mark.parametrize(("major", "dtype"), [(7, torch.float16), (8, torch.bfloat16)])
def test_handle_takes_bfloat16_where_the_gpu_does_not_emulate_it(
    monkeypatch: pytest.MonkeyPatch, major: int, dtype: torch.dtype
) -> None:
    properties = SimpleNamespace(major=major)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: properties)
    assert choose_dtype("auto", torch.device("cuda")) == dtype


@pytest.mark.parametrize("device", ["mps", "meta", "xpu"])
def test_handle_device_of_another_kind_is_an_error(device: str) -> None:
    with pytest.raises(ValueError, match="Unknown device"):
        choose_device(device)


@pytest.mark.parametrize(
    ("setting", "fast", "dtype"),
    [
        ("bfloat16", True, torch.bfloat16),
        ("bfloat16", False, torch.float32),
        ("float16", True, torch.float32),
        ("float32", True, torch.float32),
    ],
)
def test_handle_trains_in_bfloat16_where_it_is_fast_else_in_float32(
    setting: str, fast: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spacy_padellm.lm.handle.fast_bf16", lambda device: fast)
    assert make_handle(dtype=setting).trainable([]).dtype == dtype


def test_handle_tensors_of_the_same_memory_but_other_shapes_are_saved_apart() -> None:
    whole = torch.arange(6.0).view(3, 2)
    cast = _cast({"whole": whole, "tied": whole, "first": whole[:1]}, torch.bfloat16)
    assert cast["whole"] is cast["tied"]
    assert {name: tuple(t.shape) for name, t in cast.items()} == {
        "whole": (3, 2),
        "tied": (3, 2),
        "first": (1, 2),
    }


FORKED = """
import multiprocessing as mp, torch

def work():
    from spacy_padellm.lm.devices import enter_process

    enter_process(torch.device("cpu"))
    assert torch.get_num_threads() == 1

torch.set_num_threads(2)
if {imported}:
    import spacy_padellm.lm.devices
child = mp.get_context("fork").Process(target=work)
child.start()
child.join()
assert child.exitcode == 0
"""


@pytest.mark.parametrize("imported", [False, True])
def test_handle_forked_process_has_one_thread_wherever_the_package_is_imported(
    imported: bool,
) -> None:
    script = FORKED.format(imported=imported)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
