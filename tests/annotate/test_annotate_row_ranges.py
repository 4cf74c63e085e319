"""Dividing input files: the shards together contain each row once."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq
from annotate_helpers import compressed
from hypothesis import given, settings, strategies as st

from spacy_padellm.annotate.files import find_inputs, format_of
from spacy_padellm.annotate.lines import find_row_ranges, inspect_lines, read_line_range
from spacy_padellm.annotate.records import BadRecord, InputRecord
from spacy_padellm.annotate.tables import inspect_parquet, read_parquet

LINES = st.lists(st.sampled_from([b"", b"a", b"bcd", b"e" * 20]), max_size=30)


class Trickle(io.BytesIO):
    """A file whose `read` returns a few bytes at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(7, size or 7))


@given(LINES, st.integers(1, 8), st.booleans())
@settings(deadline=None)
def test_annotate_ranges_lines_wherever_blocks_end(
    lines: list[bytes], size: int, ended: bool
) -> None:
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    whole = data.split(b"\n")
    if whole[-1] == b"":
        whole.pop()
    row_ranges = find_row_ranges(Trickle(data), size)
    assert [rows.start for rows in row_ranges] == list(range(0, len(whole), size))
    for rows in row_ranges:
        rest = data[rows.offset :].split(b"\n")
        assert rest[: rows.stop - rows.start] == whole[rows.start : rows.stop]


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_annotate_ranges_lines_are_read_once(tmp_path: Path, size: int) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(b"".join(b"%d\n" % number for number in range(11)))
    with path.open("rb") as file:
        row_ranges = find_row_ranges(file, size)
    read = [pair for rows in row_ranges for pair in read_line_range(str(path), rows)]
    assert read == [(number, b"%d" % number) for number in range(11)]


@pytest.mark.parametrize("group", [1, 2, 5, 11, 50])
@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_annotate_ranges_parquet_rows_are_read_once(
    tmp_path: Path, group: int, size: int
) -> None:
    path = tmp_path / "in.parquet"
    texts = [f"text {number}" for number in range(11)]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=group)
    layout = inspect_parquet(str(path), text_column="text", keep=[], shard_size=size)
    read: list[InputRecord | BadRecord] = []
    for rows in layout.row_ranges:
        records = read_parquet(
            str(path), rows, text_column="text", columns=layout.columns
        )
        read.extend(records)
    assert [record.row for record in read] == list(range(11))
    assert [r.text for r in read if isinstance(r, InputRecord)] == texts


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("size", [1, 700, 1000])
@pytest.mark.parametrize(
    ("value", "kind"), [("x", pa.string()), (0.5, pa.float64()), (1, pa.int64())]
)
def test_annotate_ranges_types_of_columns_are_those_of_all_starts(
    tmp_path: Path, suffix: str, size: int, value: object, kind: pa.DataType
) -> None:
    ids = [*range(2100), *[value] * 1000]
    lines = [json.dumps({"text": "Bob", "id": each}) for each in ids]
    path = tmp_path / f"in.jsonl{suffix}"
    path.write_bytes(compressed("\n".join(lines).encode(), suffix))
    layout = inspect_lines(
        str(path), data_format="jsonl", text_column="text", keep=["id"], shard_size=size
    )
    assert layout.columns == pa.schema([("id", kind)])


def test_annotate_ranges_file_that_became_shorter_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(b"a\nb\nc\n")
    with path.open("rb") as file:
        (rows,) = find_row_ranges(file, 10)
    path.write_bytes(b"a\nb\n")
    with pytest.raises(EOFError, match="it ended at line 2"):
        list(read_line_range(str(path), rows))


@pytest.mark.parametrize(
    ("name", "data_format"),
    [
        ("s3://bucket/a.parquet", "parquet"),
        ("a.JSONL.GZ", "jsonl"),
        ("a.b.txt.zst", "text"),
        ("a.spacy", "spacy"),
        ("a.jsonl.bz2", "jsonl"),
        ("a.parquet.gz", None),
        ("a.jsonl.zip", None),
        ("a.json", None),
        ("parquet", None),
    ],
)
def test_annotate_ranges_format_depends_on_the_suffix(
    name: str, data_format: str | None
) -> None:
    assert format_of(name) == data_format


def test_annotate_ranges_name_with_glob_characters_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "in[1].txt"
    path.write_text("Bob\n")
    (file,) = find_inputs([str(path)], output=str(tmp_path / "out"))
    assert file.path == str(path)


def test_annotate_takes_the_first_of_two_names_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text('{"text": "Anna"}\n')
    (tmp_path / "in" / "z.jsonl").symlink_to(tmp_path / "in" / "a.jsonl")
    (file,) = find_inputs([str(tmp_path / "in")], output=str(tmp_path / "out"))
    assert file.path == str(tmp_path / "in" / "a.jsonl")
