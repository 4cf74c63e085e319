"""Snippets of the web as files of plain text (scripts/snippets.py)."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from snippets import INNER, read, snippet


def archive(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def test_snippets_are_the_texts_of_the_lines() -> None:
    assert snippet("1\t-0.5\tR&amp;B in ''Oslo''\n") == 'R&B in "Oslo"'


def test_snippets_are_read_from_the_inner_archive(tmp_path: Path) -> None:
    inner = archive(
        {
            "a/tweets_GroundTruth.txt": b"1\t0.1\tHi Bob",
            "a/tweets_ratings.txt": b"1\t[2, 3]",
        }
    )
    package = tmp_path / "package.tar.gz"
    package.write_bytes(archive({"p/setup.py": b"", f"p/{INNER}": inner}))
    assert read(package) == [("tweets", "1\t0.1\tHi Bob")]
