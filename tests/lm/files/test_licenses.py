"""Licences and notices of model folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from spacy_padellm.lm.files.licenses import read_licenses


def test_licenses_that_cannot_be_read_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "LICENSE").write_bytes(b"a")
    (tmp_path / "NOTICE").write_bytes(b"b")
    read = Path.read_bytes

    def refusing(path: Path) -> bytes:
        if path.name == "NOTICE":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refusing)
    assert read_licenses(tmp_path) == {"LICENSE": b"a"}
