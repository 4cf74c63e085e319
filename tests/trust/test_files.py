"""No file outside of a model folder is written or packed."""

from __future__ import annotations

import gc
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import srsly
from helpers import LABELS, SMALL, make_nlp, named, pipe_of
from trust_helpers import change, write_code, write_model

from spacy_padellm.lm.loading import load_model, load_tokenizer
from spacy_padellm.lm.saving.folder import copy_model_folder
from spacy_padellm.lm.task.config import SETTINGS_FILE, TaskSettings
from spacy_padellm.pipeline.pipe import PaDeLLMNER
from spacy_padellm.prompt.template import PRESETS

PROMPT = {"@misc": "spacy-padellm.Prompt.v1", "preset": "paper-en"}
SETTINGS = TaskSettings({"PER": "person"}, PRESETS["paper-en"])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def pipe(model: Path) -> PaDeLLMNER:
    return pipe_of(make_nlp(model=named(model), labels=LABELS, prompt=PROMPT))


def with_file(data: bytes, name: Any, content: Any = b"x") -> bytes:
    """The bytes of a component with one more model file."""
    message = srsly.msgpack_loads(data)
    message["model"][name] = content
    return srsly.msgpack_dumps(message)


def load_bytes(data: bytes) -> PaDeLLMNER:
    return pipe_of(make_nlp(model=SMALL)).from_bytes(data)


@pytest.mark.parametrize("up", ["..", "../..", "../../.."])
def test_files_of_bytes_are_not_written_above(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, up: str
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "a" / "b"))
    data = with_file(pipe(model).to_bytes(), f"{up}/written.json")
    with pytest.raises(ValueError, match=r"bytes hold '\.\./"):
        load_bytes(data)
    assert not list(tmp_path.rglob("written.json"))


def test_files_of_bytes_are_not_written_by_absolute_paths(
    model: Path, tmp_path: Path
) -> None:
    data = with_file(pipe(model).to_bytes(), str(tmp_path / "written.json"))
    with pytest.raises(ValueError, match="bytes hold '/"):
        load_bytes(data)
    assert not (tmp_path / "written.json").exists()


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a/b.json", "a\\b.json", "c:b.json", "\0.json"),
        *("a" * 999, "é" * 150 + ".json"),
    ],
)
def test_files_of_bytes_have_bare_names(model: Path, name: str) -> None:
    with pytest.raises(ValueError, match="bytes hold"):
        load_bytes(with_file(pipe(model).to_bytes(), name))


def test_files_of_bytes_have_names_that_are_strings(model: Path) -> None:
    with pytest.raises(ValueError, match="bytes hold 5"):
        load_bytes(with_file(pipe(model).to_bytes(), 5))


@pytest.mark.parametrize("content", ["text", 5, None, ["x"]])
def test_files_of_bytes_hold_bytes(model: Path, content: Any) -> None:
    data = with_file(pipe(model).to_bytes(), "notes.json", content)
    with pytest.raises(ValueError, match="bytes hold a value of type"):
        load_bytes(data)


@pytest.mark.parametrize("files", [["x"], "x", 5, None, b"x", b""])
def test_files_of_bytes_are_a_mapping(model: Path, files: Any) -> None:
    message = srsly.msgpack_loads(pipe(model).to_bytes())
    message["model"] = files
    with pytest.raises(ValueError, match="bytes hold a value of type"):
        load_bytes(srsly.msgpack_dumps(message))


def test_files_of_bytes_that_are_code_are_refused(model: Path) -> None:
    with pytest.raises(ValueError, match=r"not trusted, in modeling\.py"):
        load_bytes(with_file(pipe(model).to_bytes(), "modeling.py"))


def test_files_of_bytes_that_are_unknown_are_left_out(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    write = Path.write_bytes
    monkeypatch.setattr(
        Path, "write_bytes", lambda p, data: (written.append(p.name), write(p, data))
    )
    data = pipe(model).to_bytes()
    assert load_bytes(with_file(data, ".gitattributes")).handle.lm()
    assert "config.json" in written
    assert ".gitattributes" not in written


def test_files_that_are_unknown_are_not_packed(model: Path) -> None:
    (model / "secrets.env").write_text("x", "utf8")
    message = srsly.msgpack_loads(pipe(model).to_bytes())
    assert "config.json" in message["model"]
    assert "secrets.env" not in message["model"]


# Damaged components

WRONG_CFG = [
    b"{",
    b"[1]",
    b"null",
    b'{"labels": ["PER"]}',
    b'{"labels": {"PER": 5}}',
    b'{"labels": {"": "person"}}',
    b'{"labels": {"PER": "\\ud800"}}',
    b'{"spans_key": 5}',
    b'{"threshold": "high"}',
]


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93abc", b"\x81\xa3cfg\x01", b"x"])
def test_damaged_bytes_are_told(data: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be loaded from bytes"):
        load_bytes(data)
    # msgpack would leave it off
    assert gc.isenabled()


@pytest.mark.parametrize("part", ["cfg", "vocab"])
@pytest.mark.parametrize("content", [b"\xc1", b"", 5, None, {"x": 1}])
def test_damaged_bytes_of_a_part_are_told(model: Path, part: str, content: Any) -> None:
    message = srsly.msgpack_loads(pipe(model).to_bytes())
    message[part] = content
    with pytest.raises(ValueError, match="cannot be loaded from bytes"):
        load_bytes(srsly.msgpack_dumps(message))


@pytest.mark.parametrize("cfg", WRONG_CFG)
def test_damaged_cfg_is_told(model: Path, tmp_path: Path, cfg: bytes) -> None:
    pipe(model).to_disk(tmp_path / "pipe")
    message = srsly.msgpack_loads(pipe(model).to_bytes())
    message["cfg"] = cfg
    pattern = "cannot be loaded from|The threshold of"
    with pytest.raises(ValueError, match=pattern):
        load_bytes(srsly.msgpack_dumps(message))
    (tmp_path / "pipe" / "cfg").write_bytes(cfg)
    with pytest.raises(ValueError, match=pattern):
        pipe_of(make_nlp(model=SMALL)).from_disk(tmp_path / "pipe")


# Files that settings name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rms_norm_eps", {}),
        ("rms_norm_eps", [1e-6]),
        ("intermediate_size", "64"),
        ("num_hidden_layers", "2"),
        ("max_position_embeddings", {"x": 1}),
    ],
)
def test_config_of_a_model_without_numbers_is_told(
    model: Path, field: str, value: Any
) -> None:
    change(model / "config.json", **{field: value})
    with pytest.raises(ValueError, match=f"Could not load .*: .*{field}"):
        load_model(str(model))


def test_config_of_a_model_is_not_quoted_at_length(model: Path) -> None:
    change(model / "config.json", model_type="\x1b[2J" + "x" * 100_000)
    with pytest.raises(ValueError, match=r"model type ` \[2Jxxx") as caught:
        load_model(str(model))
    assert len(str(caught.value)) < 3000


def test_config_of_a_model_may_have_several_end_tokens(model: Path) -> None:
    change(model / "config.json", eos_token_id=[1, 2])
    load_model(str(model))


def test_files_elsewhere_are_no_weights(model: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").rename(tmp_path / "outside.safetensors")
    index = {"weight_map": {"lm_head.weight": "../outside.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index), "utf8")
    with pytest.raises(ValueError, match=r"in model\.safetensors\.index\.json: weight"):
        load_model(str(model))


@pytest.mark.parametrize("relative", [True, False])
def test_files_elsewhere_are_no_vocabulary(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("secret", "utf8")
    name = ".env" if relative else str(tmp_path / ".env")
    change(model / "tokenizer_config.json", vocab_file=name)
    with pytest.raises(ValueError, match=r"in tokenizer_config\.json: vocab_file"):
        load_tokenizer(str(model))


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize(
    "key", ["tokenizer_file", "emoji_file", "sudachi_config_path", "x_vocab_file"]
)
def test_files_elsewhere_are_not_read_by_tokenizers(
    model: Path, tmp_path: Path, file: str, key: str
) -> None:
    other = tmp_path / "other.json"
    other.write_bytes((model / "tokenizer.json").read_bytes())
    change(model / file, **{key: str(other)})
    with pytest.raises(ValueError, match=f"in {file}: {key}"):
        load_tokenizer(str(model))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("init_inputs", ["/etc/hostname"]),
        ("gguf_file", "other.gguf"),
        ("mecab_option", "--output=written"),
        ("fast_tokenizer_files", ["../tokenizer.4.0.0.json"]),
        # transformers 5 gives them to the tokenizers library, which takes paths
        ("vocab", __file__),
        ("merges", __file__),
    ],
)
def test_files_elsewhere_are_not_named_to_tokenizers(
    model: Path, key: str, value: Any
) -> None:
    change(model / "tokenizer_config.json", **{key: value})
    with pytest.raises(ValueError, match=rf"in tokenizer_config\.json: {key}"):
        load_tokenizer(str(model))


def test_files_of_the_folder_that_the_model_had_are_no_settings(
    model: Path, tmp_path: Path
) -> None:
    place = {"name_or_path": str(tmp_path), "_name_or_path": str(tmp_path)}
    change(model / "tokenizer_config.json", **place)
    assert load_tokenizer(str(model))


def test_files_of_another_machine_are_not_missed(model: Path) -> None:
    change(model / "tokenizer_config.json", vocab_file="/no/such/tokenizer.model")
    assert load_tokenizer(str(model))


# Links


@pytest.mark.parametrize("absolute", [True, False])
def test_files_behind_a_link_are_not_saved(
    model: Path, tmp_path: Path, absolute: bool
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret", "utf8")
    (model / "notes.txt").symlink_to(secret if absolute else "../secret.txt")
    with pytest.raises(ValueError, match=r"notes\.txt is a link that leads out"):
        pipe(model).to_disk(tmp_path / "pipe")
    assert not list((tmp_path / "pipe").rglob("notes.txt"))


def test_files_behind_a_link_are_not_packed(model: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret", "utf8")
    (model / "notes.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ValueError, match="is a link that leads out"):
        pipe(model).to_bytes()


def test_files_behind_a_link_to_a_folder_are_not_saved(
    model: Path, tmp_path: Path
) -> None:
    (tmp_path / "private").mkdir()
    (model / "more").symlink_to(tmp_path / "private")
    with pytest.raises(ValueError, match="is a link that leads out"):
        copy_model_folder(model, tmp_path / "copy", SETTINGS, trusted=True)


@pytest.mark.parametrize("target", [".", "round.txt", "missing.txt"])
def test_files_behind_a_link_that_leads_to_no_file_are_told(
    model: Path, tmp_path: Path, target: str
) -> None:
    (model / "round.txt").symlink_to(target)
    with pytest.raises(ValueError, match="is a link that leads out"):
        copy_model_folder(model, tmp_path / "copy", SETTINGS, trusted=True)


def test_files_behind_a_link_inside_are_saved(model: Path, tmp_path: Path) -> None:
    (model / "notes.txt").write_text("notes", "utf8")
    (model / "link.txt").symlink_to("notes.txt")
    pipe(model).to_disk(tmp_path / "pipe")
    saved = tmp_path / "pipe" / "model" / "link.txt"
    assert saved.read_text("utf8") == "notes"
    assert not saved.is_symlink()


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "sub/notes.txt"]
)
def test_files_behind_a_link_are_not_loaded(
    model: Path, tmp_path: Path, name: str
) -> None:
    path, other = model / name, tmp_path / "other"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    path.rename(other)
    path.symlink_to(other)
    for read in (load_model, load_tokenizer):
        with pytest.raises(ValueError, match="is a link that leads out"):
            read(str(model))


def test_files_behind_a_link_are_loaded_if_they_are_trusted(
    model: Path, tmp_path: Path
) -> None:
    (model / "model.safetensors").rename(tmp_path / "weights")
    (model / "model.safetensors").symlink_to(tmp_path / "weights")
    assert load_model(str(model), trust_remote_code=True)


def test_files_of_installed_packages_may_be_links(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model / "model.safetensors").rename(tmp_path / "cached")
    (model / "model.safetensors").symlink_to(tmp_path / "cached")
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(model.parent))
    pipe(model).to_disk(tmp_path / "pipe")
    assert load_model(str(model))
    assert not (tmp_path / "pipe" / "model" / "model.safetensors").is_symlink()


def test_files_behind_a_link_are_no_settings(model: Path, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(SETTINGS.to_json(), "utf8")
    (model / SETTINGS_FILE).symlink_to(tmp_path / "other.json")
    with pytest.raises(ValueError, match=r"padellm\.json is a link that leads out"):
        pipe(model)


def test_files_of_a_model_behind_a_link_are_not_those_of_a_pipeline(
    model: Path, tmp_path: Path
) -> None:
    pipe(model).to_disk(tmp_path / "pipe")
    (tmp_path / "pipe" / "model").rename(tmp_path / "private")
    (tmp_path / "pipe" / "model").symlink_to("../private")
    with pytest.raises(ValueError, match="model is a link that leads out"):
        pipe_of(make_nlp(model=SMALL)).from_disk(tmp_path / "pipe")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("name", ["config.json", "padellm.json", "sub/notes.txt"])
def test_files_that_are_pipes_are_told(model: Path, tmp_path: Path, name: str) -> None:
    (model / "sub").mkdir()
    (model / name).unlink(missing_ok=True)
    os.mkfifo(model / name)
    (model / "adapter_config.json").write_text("{}", "utf8")
    with pytest.raises(ValueError, match="is neither a file nor a folder"):
        load_model(str(model))
    with pytest.raises(ValueError, match="is neither a file nor a folder"):
        copy_model_folder(model, tmp_path / "copy", SETTINGS, trusted=True)


def test_files_of_a_folder_that_is_a_link_are_saved(
    model: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(model)
    pipe(tmp_path / "link").to_disk(tmp_path / "pipe")
    assert (tmp_path / "pipe" / "model" / "config.json").is_file()


@pytest.fixture
def snapshot(model: Path, tmp_path: Path) -> Path:
    """The model as in the hub's cache: links to blobs."""
    repository = tmp_path / "models--a--b"
    folder = repository / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for path in model.iterdir():
        os.replace(path, repository / "blobs" / path.name.upper())
        (folder / path.name).symlink_to(f"../../blobs/{path.name.upper()}")
    return folder


def test_files_of_a_snapshot_are_saved(snapshot: Path, tmp_path: Path) -> None:
    pipe(snapshot).to_disk(tmp_path / "pipe")
    saved = tmp_path / "pipe" / "model" / "config.json"
    assert saved.read_bytes() == (snapshot / "config.json").read_bytes()
    assert not saved.is_symlink()


def test_files_of_a_snapshot_are_packed(snapshot: Path) -> None:
    assert load_bytes(pipe(snapshot).to_bytes()).handle.lm()


def test_files_behind_a_blob_that_is_a_link_are_not_saved(
    snapshot: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.txt").write_text("secret", "utf8")
    blob = snapshot.parent.parent / "blobs" / "NOTES.TXT"
    blob.symlink_to(tmp_path / "secret.txt")
    (snapshot / "notes.txt").symlink_to("../../blobs/NOTES.TXT")
    with pytest.raises(ValueError, match="is a link that leads out"):
        pipe(snapshot).to_disk(tmp_path / "pipe")


def test_files_of_code_come_back_from_bytes_if_they_are_trusted(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PADELLM_TRUST_REMOTE_CODE", "1")
    write_code(model / "modeling.py", tmp_path / "trace")
    config = named(model, model={"trust_remote_code": True})
    data = pipe_of(make_nlp(model=config, labels=LABELS, prompt=PROMPT)).to_bytes()
    assert pipe_of(make_nlp(model=config)).from_bytes(data).handle.lm()


@pytest.mark.parametrize("part", [".", "sub/deeper"])
@pytest.mark.parametrize("rights", [0o311, 0o644])
def test_files_of_a_folder_that_cannot_be_listed_are_not_loaded(
    model: Path, part: str, rights: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model / part
    folder.mkdir(parents=True, exist_ok=True)
    mode = folder.stat().st_mode
    folder.chmod(rights)

    def access(path: str | Path, asked: int) -> bool:
        """As for the owner, also where the tests run as root."""
        return (stat.S_IMODE(os.stat(path).st_mode) >> 6) & asked == asked

    monkeypatch.setattr(os, "access", access)
    with pytest.raises(ValueError, match="cannot be listed"):
        load_model(str(model))
    folder.chmod(mode)
