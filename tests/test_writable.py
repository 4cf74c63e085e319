"""Output files: checked before the work, replaced whole after it."""

import os
from pathlib import Path

import pytest

from spacy_padellm.corpora.files import read_text
from spacy_padellm.writable import check_writable, make_writable, write_whole


def test_writable_whole_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "out.json"
    write_whole(path, b"old")
    path.chmod(0o600)
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["out.json"]


@pytest.mark.parametrize("name", ["a.json.gz", "a.html.XZ", "a.svg.bz2"])
def test_writable_whole_file_is_compressed_as_its_name_says(
    name: str, tmp_path: Path
) -> None:
    write_whole(tmp_path / name, b"new")
    assert read_text(tmp_path / name) == "new"


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt()])
def test_writable_old_file_stays_when_the_new_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def stop(_: int) -> None:
        raise error

    (tmp_path / "out.json").write_bytes(b"old")
    monkeypatch.setattr("os.fsync", stop)
    with pytest.raises(type(error)):
        write_whole(tmp_path / "out.json", b"new")
    assert os.listdir(tmp_path) == ["out.json"]
    assert (tmp_path / "out.json").read_bytes() == b"old"


def test_writable_link_leads_to_the_new_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "out.json", tmp_path / "link.json"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.skipif(not Path(os.devnull).is_char_device(), reason="no such device")
def test_writable_device_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to(os.devnull)
    write_whole(tmp_path / "null", b"new")
    assert Path(os.devnull).is_char_device()


def test_writable_check_creates_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b" / "out.json")
    assert not list(tmp_path.iterdir())
    make_writable(tmp_path / "a" / "b" / "out.json")
    assert (tmp_path / "a" / "b").is_dir()


def test_writable_folder_below_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"Cannot write .*file is no folder"):
        check_writable(tmp_path / "file" / "more" / "out.json")


def test_writable_input_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "in.json").touch()
    (tmp_path / "link.json").symlink_to(tmp_path / "in.json")
    with pytest.raises(ValueError, match="is read by this command"):
        check_writable(tmp_path / "link.json", inputs=[tmp_path / "in.json"])


def test_writable_read_only_file_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.json"
    path.write_bytes(b"old")
    # of root too, who may write what is read-only
    monkeypatch.setattr("os.access", lambda place, mode: Path(place) != path)
    with pytest.raises(ValueError, match="it is read-only"):
        make_writable(path)


def test_writable_drive_that_is_missing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.path.lexists", lambda place: False)
    with pytest.raises(ValueError, match="is no folder"):
        check_writable(tmp_path / "out.json")


def test_writable_link_to_a_new_folder_is_followed(tmp_path: Path) -> None:
    link, target = tmp_path / "link.json", tmp_path / "new" / "out.json"
    link.symlink_to(target)
    make_writable(link)
    write_whole(link, b"new")
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["circle.json", "a" * 300])
def test_writable_name_that_leads_nowhere_is_an_error(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "circle.json").symlink_to(tmp_path / "circle.json")
    with pytest.raises(ValueError, match="Cannot write"):
        make_writable(tmp_path / name)
