"""The handle: when a model is loaded, and what its folders are."""

from __future__ import annotations

import copy
import gc
import pickle
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.context import set_spawning_popen
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import NAME, model_folder, same_weights, trained

from spacy_padellm.compat.onednn import onednn_has_int8
from spacy_padellm.compat.transformers import (
    attention_name,
    attention_names,
    configs_of,
)
from spacy_padellm.lm.attention.interface import used_by
from spacy_padellm.lm.devices import choose
from spacy_padellm.lm.devices.choose import choose_device, choose_dtype, enter_process
from spacy_padellm.lm.files import model_files
from spacy_padellm.lm.handle import trainable
from spacy_padellm.lm.handle.handle import ModelHandle
from spacy_padellm.lm.handle.source import ModelSource
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.layers.onednn import unpack
from spacy_padellm.lm.loading import load_placed
from spacy_padellm.lm.saving.folder import _cast
from spacy_padellm.lm.task.config import TaskSettings, read_settings
from spacy_padellm.prompt.template import PRESETS


def make_handle(name: Path | str | None = None, **settings: Any) -> ModelHandle:
    source = ModelSource(
        str(name or model_folder()), **{"dtype": "float32", "device": "cpu", **settings}
    )
    return ModelHandle(source)


def opened(folder: Path, **settings: Any) -> ModelHandle:
    """A handle that has opened a copy of the trained model."""
    shutil.copytree(model_folder(), folder)
    handle = make_handle("no/model", **settings)
    handle.open(folder)
    return handle


def same_lm(first: ModelHandle, second: ModelHandle) -> bool:
    weights = [handle.lm().model.state_dict() for handle in (first, second)]
    return same_weights(*weights)


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
    assert make_handle(dtype="auto").lm() is not make_handle(dtype="int8").lm()


@pytest.mark.parametrize(
    ("auto", "named"), [(True, "int8"), (False, "float32")], ids=["int8", "float32"]
)
@pytest.mark.parametrize("first", [0, 1])
def test_handle_default_dtype_is_shared_with_its_name(
    auto: bool, named: str, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LanguageModel, "prefers_int8", auto)
    monkeypatch.setattr(choose, "fast_bf16", lambda device: False)
    if auto and not onednn_has_int8():
        pytest.skip("the processor has no 8-bit products")
    dtypes = ["auto", named]
    lm = make_handle(dtype=dtypes[first]).lm()
    assert make_handle(dtype=dtypes[1 - first]).lm() is lm
    assert make_handle(dtype="bfloat16").lm() is not lm


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
    monkeypatch.setattr(model_files, "MESSAGE_LIMIT", 1000)
    with pytest.raises(ValueError, match="but to_bytes can hold at most"):
        make_handle().to_files(settings)


def test_handle_opened_folder_replaces_the_trained_model() -> None:
    handle = make_handle()
    own_lm = handle.trainable([])
    handle.open(model_folder())
    assert handle.lm() is not own_lm


def test_handle_pickle_of_a_bundled_model_carries_no_weights() -> None:
    handle = make_handle("bundled-en-sm")
    handle.lm()
    assert len(pickle.dumps(handle)) < 4000


@pytest.mark.parametrize("used", [False, True])
def test_handle_pickle_of_a_folder_needs_no_folder(tmp_path: Path, used: bool) -> None:
    shutil.copytree(model_folder(), tmp_path / "model")
    handle = make_handle(tmp_path / "model")
    if used:
        handle.lm()
    data = pickle.dumps(handle)
    shutil.rmtree(tmp_path / "model")
    assert same_lm(pickle.loads(data), make_handle())


def test_handle_pickle_of_a_folder_that_is_gone_fails(tmp_path: Path) -> None:
    shutil.copytree(model_folder(), tmp_path / "model")
    handle = make_handle(tmp_path / "model")
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(ValueError, match="was changed or deleted after the pipeline"):
        pickle.dumps(handle)


def test_handle_pickle_of_packed_weights_can_be_used() -> None:
    handle = make_handle("bundled-en-sm", dtype="bfloat16")
    lm, text = handle.lm(), torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        expected = lm.model(text).logits  # packs the weights
        copied = pickle.loads(pickle.dumps(lm)).model(text).logits
    assert torch.equal(copied, expected)


# Folders that change


def test_handle_named_folder_that_changed_is_not_loaded(tmp_path: Path) -> None:
    shutil.copytree(model_folder(), tmp_path / "model")
    handle = make_handle(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text("utf8") + " ", "utf8")
    message = r"was changed or deleted after the pipeline was made with it.*Make the"
    for use in (handle.lm, lambda: handle.trainable([])):
        with pytest.raises(ValueError, match=message):
            use()


def test_handle_named_folder_may_get_other_settings(
    tmp_path: Path, settings: TaskSettings
) -> None:
    shutil.copytree(model_folder(), tmp_path / "model")
    handle = make_handle(tmp_path / "model")
    (tmp_path / "model" / "padellm.json").unlink()
    assert handle.lm()
    assert handle.settings == settings


def test_handle_named_folder_is_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(model_folder(), tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    handle = make_handle("model")
    monkeypatch.chdir("/")
    assert same_lm(handle, make_handle())


def test_handle_folder_that_appears_later_is_used(tmp_path: Path) -> None:
    handle = make_handle(tmp_path / "model")
    shutil.copytree(model_folder(), tmp_path / "model")
    assert same_lm(handle, make_handle())


def test_handle_opened_folder_is_read_at_once(tmp_path: Path) -> None:
    handle = opened(tmp_path / "model")
    shutil.rmtree(tmp_path / "model")
    assert same_lm(handle, make_handle())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_handle_weights_are_no_view_of_their_file(tmp_path: Path, dtype: str) -> None:
    place = tmp_path / "model"
    own_lm = make_handle(dtype=dtype)
    own_lm.trainable([])
    own_lm.save(place, TaskSettings({}, PRESETS["compact"]))
    handle = ModelHandle(ModelSource(None, dtype=dtype, device="cpu"))
    handle.open(place)
    weights = place / "model.safetensors"
    expected = handle.lm().model.get_input_embeddings().weight.clone()
    weights.write_bytes(bytes(weights.stat().st_size))
    assert torch.equal(handle.lm().model.get_input_embeddings().weight, expected)


def test_handle_trains_the_weights_that_were_loaded(tmp_path: Path) -> None:
    handle = opened(tmp_path / "model")
    shutil.rmtree(tmp_path / "model")
    shared = handle.lm()
    own_lm = handle.trainable([])
    assert same_lm(handle, make_handle())
    assert own_lm.model is not shared.model


def test_handle_trained_model_is_not_in_memory_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = opened(tmp_path / "model")
    shared = weakref.ref(handle.lm())
    alive: list[object] = []

    def load_own(*args: Any, **kwargs: Any) -> LanguageModel:
        gc.collect()
        alive.append(shared())
        return load_placed(*args, **kwargs)

    monkeypatch.setattr(trainable, "load_placed", load_own)
    handle.trainable([])
    assert alive == [None]


def test_handle_copies_of_packed_weights_are_trained_unpacked() -> None:
    lm = make_handle("bundled-en-sm", dtype="bfloat16").lm()
    copied = copy.deepcopy(lm.model)
    unpack(copied)
    assert not any("forward" in vars(module) for module in copied.modules())


def test_handle_saved_in_place_twice_keeps_the_file(
    tmp_path: Path, settings: TaskSettings
) -> None:
    place = tmp_path / "nlp" / "model"
    handle = opened(place, dtype="bfloat16")  # the file has float32
    expected = (place / "model.safetensors").read_bytes()
    for _ in range(2):
        handle.save(tmp_path / "new", settings, target=place.resolve())
        shutil.rmtree(place)
        (tmp_path / "new").rename(place)
    assert (place / "model.safetensors").read_bytes() == expected


def test_handle_settings_in_files_replace_those_of_the_folder(
    settings: TaskSettings,
) -> None:
    handle = make_handle()
    files = make_handle().to_files(replace(settings, labels={"X": "x"}))
    handle.from_files(files, weights=False)
    assert handle.settings
    assert handle.settings.labels == {"X": "x"}


# Processes that are started


@contextmanager
def starting_a_process() -> Iterator[None]:
    """As while multiprocessing pickles the arguments of a process."""
    set_spawning_popen(object())
    try:
        yield
    finally:
        set_spawning_popen(None)


def test_handle_started_process_reads_the_unchanged_folder(tmp_path: Path) -> None:
    handle = opened(tmp_path / "model")
    with starting_a_process():
        data = pickle.dumps(handle)
    assert len(data) < 4000
    assert same_lm(pickle.loads(data), make_handle())


def test_handle_started_process_sees_that_the_folder_changed(tmp_path: Path) -> None:
    handle = opened(tmp_path / "model")
    with starting_a_process():
        data = pickle.dumps(handle)
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(ValueError, match="was changed or deleted after the pipeline"):
        pickle.loads(data).lm()


def test_handle_started_process_gets_the_weights_of_a_folder_that_changed(
    tmp_path: Path,
) -> None:
    handle = opened(tmp_path / "model")
    shutil.rmtree(tmp_path / "model")
    with starting_a_process():
        data = pickle.dumps(handle)
    assert same_lm(pickle.loads(data), make_handle())


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


def folder_with(file: str, place: Path) -> ModelHandle:
    """A handle of a folder that holds another file."""
    shutil.copytree(model_folder(), place)
    (place / file).write_text("{}", "utf8")
    return make_handle(place)


@pytest.mark.parametrize("file", ["run 12:30.log", "a\\b", "n" * 220 + ".log"])
def test_handle_bytes_leave_out_files_that_are_not_the_models(
    tmp_path: Path, settings: TaskSettings, file: str
) -> None:
    files = folder_with(file, tmp_path / "model").to_files(settings)
    assert "config.json" in files
    assert file not in files


@pytest.mark.parametrize("file", ["run 12:30.json", "n" * 220 + ".txt"])
def test_handle_bytes_cannot_hold_every_name_of_a_model_file(
    tmp_path: Path, settings: TaskSettings, file: str
) -> None:
    handle = folder_with(file, tmp_path / "model")
    with pytest.raises(ValueError, match=rf"'{file}'.* Rename or delete it"):
        handle.to_files(settings)


@contextmanager
def decoding(lm: LanguageModel) -> Iterator[None]:
    """Another thread runs a pass, which ends when the code inside has waited for it."""
    begun, waited = threading.Event(), threading.Event()

    def run() -> None:
        attention: Any = None
        positions = torch.zeros(1, dtype=torch.long)
        with lm.lock, used_by(lm.model, attention), lm._head.at(positions):
            begun.set()
            waited.wait(0.5)

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    yield
    waited.set()
    thread.join()


@pytest.mark.parametrize("way", ["handle", "pickle", "trainable"])
def test_handle_copies_nothing_of_a_pass_of_another_thread(
    tmp_path: Path, way: str
) -> None:
    handle = opened(tmp_path / "model")
    if way != "trainable":
        handle.trainable([])
    else:
        shutil.rmtree(tmp_path / "model")  # the model in memory is copied
    lm = handle.lm()
    with decoding(lm):
        if way == "pickle":
            other = pickle.loads(pickle.dumps(handle))
        else:
            other = copy.deepcopy(handle) if way == "handle" else handle
        copied = other.trainable([])
    assert copied.model is not lm.model
    assert attention_name(copied.model.config) == "sdpa"
    assert copied._head._positions is None
    assert same_weights(copied.model.state_dict(), lm.model.state_dict())


def test_handle_pickle_has_nothing_of_a_pass_that_begins_meanwhile(
    tmp_path: Path,
) -> None:
    lm = opened(tmp_path / "model").trainable([])
    _, _, state, *_ = lm.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    with decoding(lm):
        pickled = pickle.dumps(state)
    other = LanguageModel.__new__(LanguageModel)
    other.__setstate__(pickle.loads(pickled))
    assert attention_name(other.model.config) == "sdpa"
    assert other._head._positions is None


@pytest.mark.parametrize("way", ["pickle", "copy"])
def test_handle_copies_of_layers_that_adapters_copied_have_nothing_of_a_pass(
    tmp_path: Path, way: str
) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        target_modules=["down_proj"], modules_to_save=["self_attn"]
    )
    model = peft.get_peft_model(opened(tmp_path / "model").trainable([]).model, config)
    lm = LanguageModel(model, tokenizer=None)
    _, _, state, *_ = lm.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    with decoding(lm):
        other = copy.deepcopy(lm) if way == "copy" else LanguageModel.__new__(type(lm))
        pickled = pickle.dumps(state)
    if way == "pickle":
        other.__setstate__(pickle.loads(pickled))
    names = attention_names(configs_of(other.model))
    assert len(names) > 2
    assert set(names) == {"sdpa"}


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
    monkeypatch.setattr(
        "spacy_padellm.lm.handle.trainable.fast_bf16", lambda device: fast
    )
    assert make_handle(dtype=setting).trainable([]).dtype == dtype


def test_handle_trains_with_the_rotary_frequencies_that_it_decodes_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "spacy_padellm.lm.handle.trainable.fast_bf16", lambda device: True
    )
    used, trains = (make_handle(dtype="bfloat16") for _ in range(2))
    buffers = [
        dict(lm.model.named_buffers()) for lm in (used.lm(), trains.trainable([]))
    ]
    assert trains.lm().dtype == torch.bfloat16
    assert same_weights(*buffers)


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
    from spacy_padellm.lm.devices.choose import enter_process

    enter_process(torch.device("cpu"))
    assert torch.get_num_threads() == 1

torch.set_num_threads(2)
if {imported}:
    import spacy_padellm.lm.devices.choose
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
