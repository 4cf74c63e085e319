"""Saving that fails, is killed, or would harm the model that it is made from."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import spacy
from helpers import (
    NAME,
    found,
    make_nlp,
    model_folder,
    named,
    pipe_of,
    train,
    trained,
    trained_folder,
)

from spacy_padellm import replacing
from spacy_padellm.lm.saving import folder as lm_folder

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


TEXT = "Angela Merkel met Macron in Berlin"


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def changed(folder: Path) -> Any:
    """The pipeline of a folder with other weights and another setting."""
    nlp = spacy.load(folder)
    train(nlp, steps=1)
    pipe_of(nlp).cfg["threshold"] = 0.75
    return nlp


def full_disk(*args: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def killed_in(work: Any) -> bool:
    """Do work in a forked process; whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("weights", ["trained", "copied"])
def test_saving_on_a_full_disk_leaves_the_old_copy(
    folder: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nlp = changed(folder) if weights == "trained" else spacy.load(trained_folder())
    before = contents(folder)
    # the weights are written, the settings are not
    monkeypatch.setattr(lm_folder, "write_settings", full_disk)
    with pytest.raises(OSError, match="No space left"):
        pipe_of(nlp).to_disk(folder / NAME)
    assert contents(folder) == before


@pytest.mark.skipif(resource is None, reason="the system has no limits of files")
@pytest.mark.parametrize("saved", ["component", "pipeline"])
@pytest.mark.parametrize("weights", ["trained", "copied"])
def test_saving_without_room_for_the_weights_is_one_message_with_the_remedy(
    folder: Path, weights: str, saved: str
) -> None:
    nlp = changed(folder) if weights == "trained" else spacy.load(trained_folder())
    before = contents(folder / NAME)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    whole = saved == "pipeline"
    save: Any = nlp.to_disk if whole else pipe_of(nlp).to_disk
    try:
        with pytest.raises(OSError, match="too large") as caught:
            save(folder if whole else folder / NAME)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    message = str(caught.value)
    assert message.startswith(f"The component '{NAME}' cannot be saved to {folder}/")
    assert "Its old copy, if there is one, is unchanged. Make room" in message
    assert message.count("too large") == 1
    assert contents(folder / NAME) == before


def test_saving_to_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=r"saved to .*/file/new: .*may write"):
        pipe_of(trained()).to_disk(tmp_path / "file" / "new")
    assert (tmp_path / "file").read_text() == "mine"


def test_saving_on_a_full_disk_leaves_nothing_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm_folder, "write_settings", full_disk)
    with pytest.raises(OSError, match="No space left"):
        pipe_of(trained()).to_disk(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("inside", [False, True])
def test_saving_that_is_killed_leaves_the_old_copy_and_can_be_repeated(
    folder: Path, inside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if inside:
        (folder / NAME / "notes.txt").write_text("mine")
    nlp, before = changed(folder), contents(folder)
    with monkeypatch.context() as patch:
        patch.setattr(lm_folder, "write_settings", lambda *_: os.kill(os.getpid(), 9))
        assert killed_in(lambda: pipe_of(nlp).to_disk(folder / NAME))
    after = contents(folder)
    assert {name: after.get(name) for name in before} == before
    nlp.to_disk(folder)
    after = contents(folder)
    assert after.keys() == before.keys()
    assert pipe_of(spacy.load(folder)).cfg["threshold"] == 0.75


@pytest.mark.parametrize("inside", [False, True])
def test_saving_leaves_alone_files_of_another_process(
    folder: Path, inside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if inside:
        (folder / NAME / "notes.txt").write_text("mine")
    nlp, saved = changed(folder), spacy.load(folder)
    pipe_of(saved).cfg["threshold"] = 0.5
    write = lm_folder.write_settings

    def save_another(*args: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(lm_folder, "write_settings", write)
            pipe_of(saved).to_disk(folder / NAME)
        write(*args)

    monkeypatch.setattr(lm_folder, "write_settings", save_another)
    pipe_of(nlp).to_disk(folder / NAME)
    assert not [name for name in contents(folder) if ".saving" in name]
    assert pipe_of(spacy.load(folder)).cfg["threshold"] == 0.75


@pytest.mark.parametrize("step", [1, 2])
def test_saving_that_is_killed_while_it_takes_its_place_leaves_a_whole_copy(
    folder: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    nlp, old = changed(folder), contents(folder / NAME)
    pipe_of(nlp).to_disk(folder.with_name("expected"))
    new = contents(folder.with_name("expected"))
    steps: list[str] = []

    def killing(name: str) -> Any:
        work = getattr(replacing, name)

        def do(*args: Any) -> Any:
            result = work(*args)
            steps.append(name)
            if len(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return do

    def save() -> None:
        for name in ("_exchange", "_put"):
            monkeypatch.setattr(replacing, name, killing(name))
        pipe_of(nlp).to_disk(folder / NAME)

    assert killed_in(save)
    assert contents(folder / NAME) in (old, new)


def beside_notes(folder: Path) -> tuple[Any, dict[str, bytes], dict[str, bytes]]:
    """A changed pipeline, and its component's folder before it is saved and after.

    There are notes in the folder, so its parts are replaced one by one.
    """
    (folder / NAME / "notes.txt").write_text("mine")
    nlp, old = changed(folder), contents(folder / NAME)
    pipe_of(nlp).to_disk(folder.with_name("wanted"))
    return nlp, old, contents(folder.with_name("wanted")) | {"notes.txt": b"mine"}


@pytest.mark.parametrize("exchanges", [False, True])
@pytest.mark.parametrize("step", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("then", ["load", "save"])
def test_saving_that_is_killed_between_two_parts_is_finished_later(
    folder: Path,
    exchanges: bool,
    step: int,
    then: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nlp, old, new = beside_notes(folder)

    assert killed_in(lambda: save_until(nlp, folder, step, exchanges, monkeypatch))
    if then == "load":
        pipe_of(nlp).from_disk(folder / NAME)
    else:
        pipe_of(nlp).to_disk(folder / NAME, exclude=["cfg", "vocab", "model"])
    found = contents(folder / NAME)
    found = {name: found[name] for name in found if not name.startswith(".saving-")}
    assert found == (old if step == 0 else new)


def save_until(
    nlp: Any, folder: Path, step: int, exchanges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Save, and be killed after so many steps of replacing."""
    rename = Path.rename
    steps: list[object] = []

    def then_die(work: Any) -> Any:
        def do(*args: Any, **kwargs: Any) -> Any:
            if len(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            result = work(*args, **kwargs)
            steps.append(args)
            return result

        return do

    exchange = then_die(replacing._exchange) if exchanges else lambda *_: False
    monkeypatch.setattr(replacing, "_exchange", exchange)
    monkeypatch.setattr(Path, "rename", then_die(rename))
    monkeypatch.setattr(shutil, "rmtree", then_die(shutil.rmtree))
    pipe_of(nlp).to_disk(folder / NAME)


@pytest.mark.parametrize("then", ["load", "save"])
def test_saving_that_is_killed_between_two_renames_is_undone_later(
    folder: Path, then: str
) -> None:
    before = contents(folder)
    (folder / NAME).rename(folder / f".{NAME}.old-0123abcd")
    if then == "load":
        spacy.load(folder)
    else:
        exclude = ["cfg", "vocab", "model"]
        pipe_of(trained()).to_disk(folder / NAME, exclude=exclude)
    assert contents(folder) == before


def test_saving_of_one_part_keeps_a_model_that_was_moved_aside(folder: Path) -> None:
    nlp, before = changed(folder), contents(folder / NAME / "model")
    (folder / NAME / "model").rename(folder / NAME / ".model.old-0123abcd")
    pipe_of(nlp).to_disk(folder / NAME, exclude=["model"])
    assert contents(folder / NAME / "model") == before


@pytest.mark.parametrize(
    "journal", ["", "5", "[" * 100_000, '{"../../x": 1, "cfg": "x", "model": []}']
)
def test_saving_that_a_stranger_left_unfinished_harms_nothing(
    folder: Path, journal: str
) -> None:
    """What a pipeline's folder holds may be made up."""
    (folder / "x").write_text("mine")
    left = folder / NAME / ".saving-0123abcd"
    (left / "model").mkdir(parents=True)
    (left / replacing._JOURNAL).write_text(journal)
    if journal.startswith("{"):  # it names no part that is new
        spacy.load(folder)
    else:
        with pytest.raises(ValueError, match="parts of two versions"):
            spacy.load(folder)
    assert (folder / "x").read_text() == "mine"
    changed(trained_folder()).to_disk(folder)
    assert pipe_of(spacy.load(folder)).cfg["threshold"] == 0.75
    assert not left.exists()


def test_saving_that_cannot_be_finished_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / NAME / "notes.txt").write_text("mine")
    nlp = changed(folder)
    # the journal is renamed, and the first part is exchanged
    assert killed_in(lambda: save_until(nlp, folder, 2, True, monkeypatch))

    def deny(*_: Any) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(replacing, "_put", deny)
    with pytest.raises(ValueError, match="may have parts of two versions"):
        spacy.load(folder)


def test_saving_keeps_the_other_files_of_the_folder(folder: Path) -> None:
    (folder / NAME / "notes").mkdir()
    (folder / NAME / "notes" / "one.txt").write_text("mine")
    changed(folder).to_disk(folder)
    assert (folder / NAME / "notes" / "one.txt").read_text() == "mine"
    assert pipe_of(spacy.load(folder)).cfg["threshold"] == 0.75


def test_saving_settings_alone_keeps_the_model(folder: Path) -> None:
    before = contents(folder / NAME / "model")
    pipe_of(changed(folder)).to_disk(folder / NAME, exclude=["model"])
    assert contents(folder / NAME / "model") == before


def test_saving_in_place_writes_no_weights_twice(folder: Path) -> None:
    nlp = spacy.load(folder)
    weights = folder / NAME / "model" / "model.safetensors"
    before = weights.stat().st_ino
    pipe_of(nlp).cfg["threshold"] = 0.75
    nlp.to_disk(folder)
    assert weights.stat().st_ino == before
    assert pipe_of(spacy.load(folder)).cfg["threshold"] == 0.75


def test_saving_elsewhere_copies_the_weights(tmp_path: Path) -> None:
    spacy.load(trained_folder()).to_disk(tmp_path / "nlp")
    weights = tmp_path / "nlp" / NAME / "model" / "model.safetensors"
    assert weights.stat().st_nlink == 1


def test_saving_through_a_link_keeps_the_link(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / NAME, tmp_path / "real")
    (folder / NAME).symlink_to(tmp_path / "real")
    changed(folder).to_disk(folder)
    assert (folder / NAME).is_symlink()
    assert pipe_of(spacy.load(folder)).cfg["threshold"] == 0.75


@pytest.mark.parametrize("inside", ["new", "model", "a/b"])
def test_saving_inside_the_source_is_refused(tmp_path: Path, inside: str) -> None:
    shutil.copytree(model_folder(), tmp_path / "base")
    before = contents(tmp_path)
    pipe = pipe_of(trained(model=named(tmp_path / "base")))
    with pytest.raises(ValueError, match=r"it is in the model folder .*base"):
        pipe.to_disk(tmp_path / "base" / inside)
    assert contents(tmp_path) == before


def test_saving_a_pipeline_over_its_source_is_refused_and_leaves_the_model(
    tmp_path: Path,
) -> None:
    base = shutil.copytree(model_folder(), tmp_path / "base")
    nlp = make_nlp(model=named(base))
    remedy = (
        r"it is in the model folder .*/base, .* meta.json and config.cfg first: del"
    )
    with pytest.raises(ValueError, match=remedy):
        nlp.to_disk(base)
    assert found([make_nlp(model=named(base))(TEXT)]) == found([trained()(TEXT)])
    for name in ("tokenizer", "meta.json", "config.cfg"):
        (base / name).unlink()
    nlp.to_disk(tmp_path / "other")
    assert contents(base) == contents(model_folder())


@pytest.mark.parametrize("source", ["base", "model/base", "vocab/base"])
@pytest.mark.parametrize("trains", [False, True])
def test_saving_above_the_source_is_refused(
    tmp_path: Path, source: str, trains: bool
) -> None:
    shutil.copytree(model_folder(), tmp_path / source)
    nlp = trained(model=named(tmp_path / source))
    if trains:
        train(nlp, steps=1)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"it contains the model folder .*base"):
        pipe_of(nlp).to_disk(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("killed", [False, True])
def test_saving_where_the_system_cannot_exchange_folders(
    folder: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    monkeypatch.setattr(replacing, "_exchange", lambda *_: False)
    names = contents(folder).keys()
    nlp = changed(folder)
    if killed:  # between the two steps, and the next process saved a copy
        shutil.copytree(folder / NAME, folder / f".{NAME}.old-0123abcd")
        shutil.copytree(folder / NAME, folder / f".{NAME}.old")
    nlp.to_disk(folder)
    left = {name for name in contents(folder) if not name.startswith(f".{NAME}.old/")}
    assert left == names
    assert pipe_of(spacy.load(folder)).cfg["threshold"] == 0.75


def test_saving_in_two_steps_waits_for_no_other_process(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process puts its folder there between the two steps."""
    monkeypatch.setattr(replacing, "_exchange", lambda *_: False)
    nlp, other = changed(folder), tmp_path / "other"
    shutil.copytree(folder / NAME, other)
    rename = Path.rename

    def rename_and_lose(path: Path, target: Path) -> Path:
        result = rename(path, target)
        if path.name == NAME and other.exists():
            rename(other, path)
        return result

    monkeypatch.setattr(Path, "rename", rename_and_lose)
    pipe_of(nlp).to_disk(folder / NAME)
    assert not list(folder.glob(".*"))
    assert pipe_of(spacy.load(folder)).cfg["threshold"] == 0.75


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("others", [[], ["notes"]])
def test_saving_in_two_steps_by_many_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: list[str]
) -> None:
    monkeypatch.setattr(replacing, "_exchange", lambda *_: False)
    place = tmp_path / "place"
    for name in ("a", "b", *others):
        (place / name).mkdir(parents=True)
        (place / name / "file").write_text("old")

    def save_often() -> None:
        for _ in range(100):
            with replacing.replaced_folder(place, ["a", "b"]) as new:
                for name in "ab":
                    (new / name).mkdir()
                    (new / name / "file").write_text("new")
        os.kill(os.getpid(), signal.SIGKILL)  # the sign that nothing was raised

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(killed_in, [save_often] * 3))
    assert [path.name for path in tmp_path.iterdir()] == ["place"]
    assert {*os.listdir(place)} == {"a", "b", *others}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_saving_beside_a_pipe_does_not_wait_for_it(folder: Path) -> None:
    os.mkfifo(folder / f".saving-{NAME}-0123abcd")
    pipe_of(changed(folder)).to_disk(folder / NAME)
    assert pipe_of(spacy.load(folder)).cfg["threshold"] == 0.75


def failing_put(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Any:
    """Let the second part of a save fail; returns what decides about later ones."""
    put, steps = replacing._put, []

    def do(new: Path, target: Path) -> None:
        steps.append(target.name)
        if len(steps) == 2 or fails_again:
            fails_again.extend(fails_for_ever)
            raise error
        put(new, target)

    fails_again: list[bool] = []
    fails_for_ever: list[bool] = []
    monkeypatch.setattr(replacing, "_put", do)
    return fails_for_ever


ERRORS = {KeyboardInterrupt: KeyboardInterrupt(), OSError: PermissionError("in use")}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("exchanges", [True, False])
def test_saving_that_fails_between_two_parts_leaves_a_whole_copy(
    folder: Path,
    error: type[BaseException],
    exchanges: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nlp, old, new = beside_notes(folder)
    if not exchanges:
        monkeypatch.setattr(replacing, "_exchange", lambda *_: False)
    failing_put(monkeypatch, ERRORS[error])
    with pytest.raises(error):
        pipe_of(nlp).to_disk(folder / NAME)
    assert contents(folder / NAME) == (old if exchanges else new)
    assert not list((folder / NAME).glob(".saving-*"))


def test_saving_that_fails_for_ever_between_two_parts_is_finished_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nlp, _, new = beside_notes(folder)
    with monkeypatch.context() as patch:
        patch.setattr(replacing, "_exchange", lambda *_: False)
        failing_put(patch, PermissionError("in use")).append(True)
        with pytest.raises(OSError, match="in use"):
            pipe_of(nlp).to_disk(folder / NAME)
    pipe_of(nlp).from_disk(folder / NAME)
    assert contents(folder / NAME) == new


def test_saving_that_fails_before_the_first_part_leaves_the_old_copy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: Any) -> None:
        raise PermissionError("in use")

    (folder / NAME / "notes.txt").write_text("mine")
    nlp, old = changed(folder), contents(folder / NAME)
    with monkeypatch.context() as patch:
        patch.setattr(replacing, "_put", deny)
        with pytest.raises(OSError, match="in use"):
            pipe_of(nlp).to_disk(folder / NAME)
    pipe_of(nlp).from_disk(folder / NAME)
    assert contents(folder / NAME) == old
