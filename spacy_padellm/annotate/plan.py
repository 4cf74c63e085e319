"""The plan of a run: its shards."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from spacy_padellm.annotate.docs import inspect_docs
from spacy_padellm.annotate.files import AnnotateError, InputFile, wrap_read_errors
from spacy_padellm.annotate.lines import inspect_lines
from spacy_padellm.annotate.records import InputLayout, RowRange
from spacy_padellm.annotate.tables import inspect_parquet
from spacy_padellm.error_words import words_of
from spacy_padellm.errors import Errors

READERS = 8  # files inspected in parallel; most of the time is waiting
OWN_COLUMNS = ("text", "entities", "nested")
DEEPEST = 100  # levels of lists and objects; Parquet has fewer


@dataclass(frozen=True, slots=True)
class Shard:
    """A unit of work: a range of rows of a file, and one file of the output.

    index (int): The position in the output, from 0.
    file (InputFile): The input file.
    row_range (RowRange): The rows.
    footer (str): The hash of a Parquet file's footer, else empty.
    """

    index: int
    file: InputFile
    row_range: RowRange
    footer: str = ""

    @property
    def path(self) -> str:
        """The path of the input file."""
        return self.file.path

    @property
    def format(self) -> str:
        """The format of the input file."""
        return self.file.format

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.row_range.stop - self.row_range.start


@dataclass(frozen=True, slots=True)
class Plan:
    """All shards of a run.

    shards (list[Shard]): The shards, in the order of the inputs.
    columns (pa.Schema): The columns to keep, with types that fit all files.
    """

    shards: list[Shard]
    columns: pa.Schema


def make_plan(
    files: Sequence[InputFile],
    *,
    text_column: str,
    keep: Sequence[str],
    shard_size: int,
) -> Plan:
    """Inspect all files and divide them into shards.

    files (Sequence[InputFile]): The input files.
    text_column (str): The column with the text.
    keep (Sequence[str]): The columns to keep.
    shard_size (int): The maximum number of rows per shard.
    RAISES (AnnotateError): If a file is broken or lacks a column, if the types of a
        column are incompatible, or if there is nothing to annotate.
    """
    for name in keep:
        if name in OWN_COLUMNS or keep.count(name) > 1:
            raise AnnotateError(Errors.P410.format(column=name))

    def inspect(file: InputFile) -> InputLayout:
        return _inspect(file, text_column=text_column, keep=keep, shard_size=shard_size)

    with ThreadPoolExecutor(READERS) as pool:
        layouts = list(pool.map(inspect, files))
    shards: list[Shard] = []
    for file, layout in zip(files, layouts, strict=True):
        for row_range in layout.row_ranges:
            shards.append(Shard(len(shards), file, row_range, layout.footer))
    if not shards:
        raise AnnotateError(Errors.P411.format(files=len(files)))
    return Plan(shards, _common_columns(files, layouts))


def _inspect(
    file: InputFile, *, text_column: str, keep: Sequence[str], shard_size: int
) -> InputLayout:
    with wrap_read_errors(file.path):
        if file.format == "parquet":
            return inspect_parquet(
                file.path, text_column=text_column, keep=keep, shard_size=shard_size
            )
        if file.format == "spacy":
            return inspect_docs(file.path, keep=keep, shard_size=shard_size)
        return inspect_lines(
            file.path,
            data_format=file.format,
            text_column=text_column,
            keep=keep,
            shard_size=shard_size,
        )


def _common_columns(
    files: Sequence[InputFile], layouts: Sequence[InputLayout]
) -> pa.Schema:
    """Find types for the kept columns that can hold the values of all files."""
    only_lines = all(file.format == "jsonl" for file in files)
    common = pa.schema([])
    for file, layout in zip(files, layouts, strict=True):
        for field in layout.columns:
            try:
                common = _unify(common, pa.schema([field]))
            except pa.ArrowException as error:
                if not only_lines:
                    message = Errors.P407.format(
                        column=field.name, path=file.path, error=words_of(error)
                    )
                    raise AnnotateError(message) from error
                # each line is written as JSON there
                place = common.get_field_index(field.name)
                common = common.set(place, pa.field(field.name, pa.string()))
    fields = [pa.field(field.name, _without_null(field.type)) for field in common]
    return pa.schema(fields)


def _unify(schema: pa.Schema, other: pa.Schema) -> pa.Schema:
    return pa.unify_schemas([schema, other], promote_options="permissive")


def _without_null(kind: pa.DataType, levels: int = DEEPEST) -> pa.DataType:
    """Make columns and parts of columns without values in any file strings."""
    if pa.types.is_null(kind):
        return pa.string()
    if not levels:
        return kind
    parts = [kind.field(place) for place in range(kind.num_fields)]
    parts = [part.with_type(_without_null(part.type, levels - 1)) for part in parts]
    if pa.types.is_struct(kind):
        return pa.struct(parts)
    if pa.types.is_list(kind):
        return pa.list_(*parts)
    if pa.types.is_large_list(kind):
        return pa.large_list(*parts)
    return kind
