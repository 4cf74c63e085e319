"""Write annotated Docs to output files."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from spacy.tokens import Doc, DocBin, Span

from spacy_padellm.annotate.files import AnnotateError
from spacy_padellm.annotate.records import InputRecord, plain_value
from spacy_padellm.errors import Errors
from spacy_padellm.text.moved import move_spans
from spacy_padellm.text.spans import get_score, nested_spans

ENTITY = pa.struct(
    [
        pa.field("start", pa.int64()),
        pa.field("end", pa.int64()),
        pa.field("label", pa.string()),
        pa.field("text", pa.string()),
        pa.field("score", pa.float64()),
    ]
)
# of a Parquet file, besides the text
SPAN_COLUMNS = ("entities", "nested")
# a record, and the kept part of its Doc
Annotated = tuple[InputRecord, Any]


@dataclass(frozen=True, slots=True)
class Writer:
    """An output format.

    keep (Callable[[Doc], Any]): Extracts the part of a Doc that is kept.
    check (Callable[[pa.Schema], None]): Raises an AnnotateError if a column of this
        type cannot be kept.
    find_problem (Callable[[InputRecord, pa.Schema], str]): Says why the columns of a
        record cannot be kept; empty if they can.
    write (Callable[[IO[bytes], Iterable[list[Annotated]], pa.Schema], None]): Writes
        batches with their kept columns to a file.
    added_columns (tuple[str, ...]): The columns of spans that it adds.
    """

    keep: Callable[[Doc], Any]
    check: Callable[[pa.Schema], None]
    find_problem: Callable[[InputRecord, pa.Schema], str]
    write: Callable[[IO[bytes], Iterable[list[Annotated]], pa.Schema], None]
    added_columns: tuple[str, ...] = ()


def to_entities(doc: Doc) -> dict[str, list[dict[str, Any]]]:
    """List the entities, and the mentions that overlap them.

    doc (Doc): The annotated text.
    RETURNS (dict[str, list[dict[str, Any]]]): By column, for each span `start`, `end`,
        `label`, `text` and `score`; those of other components have no score.
    """
    return {"entities": _rows(doc.ents), "nested": _rows(nested_spans(doc))}


def _rows(spans: Iterable[Span]) -> list[dict[str, Any]]:
    return [
        {
            "start": span.start_char,
            "end": span.end_char,
            "label": span.label_,
            "text": span.text,
            "score": get_score(span),
        }
        for span in spans
    ]


def write_parquet(
    file: IO[bytes], batches: Iterable[list[Annotated]], columns: pa.Schema
) -> None:
    """Write one row per text: the kept columns, the text and its spans.

    file (IO[bytes]): The file.
    batches (Iterable[list[Annotated]]): The annotated texts.
    columns (pa.Schema): The columns to keep.
    """
    added = [pa.field(name, pa.list_(ENTITY)) for name in SPAN_COLUMNS]
    schema = pa.schema([*columns, pa.field("text", pa.string()), *added])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            arrays = [
                _column([record.columns[i] for record, _ in batch], field.type)
                for i, field in enumerate(columns)
            ]
            arrays.append(pa.array([record.text for record, _ in batch], pa.string()))
            for name in SPAN_COLUMNS:
                rows = [spans[name] for _, spans in batch]
                arrays.append(pa.array(rows, pa.list_(ENTITY)))
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _column(scalars: list[pa.Scalar], kind: pa.DataType) -> pa.Array:
    # pa.array does not accept null scalars of list types
    return pa.array([s if s.is_valid else None for s in scalars], kind)


def write_spacy(
    file: IO[bytes], batches: Iterable[list[Annotated]], columns: pa.Schema
) -> None:
    """Write a DocBin; the kept columns are in `doc.user_data["columns"]`.

    file (IO[bytes]): The file.
    batches (Iterable[list[Annotated]]): The annotated texts.
    columns (pa.Schema): The columns to keep.
    """
    docs = DocBin(store_user_data=True)
    for batch in batches:
        for record, doc in batch:
            if columns:
                doc.user_data["columns"] = to_json_columns(record, columns)
            docs.add(doc)
    file.write(docs.to_bytes())


def to_json_columns(record: InputRecord, columns: pa.Schema) -> dict[str, Any]:
    """Convert the kept columns to JSON values.

    Of a value that Python does not have, such as a year beyond 9999, only the error is
    kept; see `find_unreadable`.
    """
    named = {}
    for name, scalar in zip(columns.names, record.columns, strict=True):
        value, problem = plain_value(scalar)
        named[name] = problem or value
    plain: dict[str, Any] = json.loads(json.dumps(named, default=str))
    return plain


def find_unreadable(record: InputRecord, columns: pa.Schema) -> str:
    """Say which kept column has a value that Python does not have; empty if none."""
    for name, scalar in zip(columns.names, record.columns, strict=True):
        problem = plain_value(scalar)[1]
        if problem:
            return f"'{name}' cannot be kept: {problem}"
    return ""


def check_parquet(columns: pa.Schema) -> None:
    """Check that a Parquet file of these columns can be written and read.

    columns (pa.Schema): The columns to keep.
    RAISES (AnnotateError): If it cannot, as with objects without keys.
    """
    for column in columns:
        file = io.BytesIO()
        try:
            pq.write_table(pa.schema([column]).empty_table(), file)
            pq.read_table(file)
        except (pa.ArrowException, OSError) as error:
            message = Errors.P780.format(column=column.name, error=error)
            raise AnnotateError(message) from error


WRITERS = {
    "parquet": Writer(
        keep=to_entities,
        check=check_parquet,
        find_problem=lambda record, columns: "",
        write=write_parquet,
        added_columns=SPAN_COLUMNS,
    ),
    "spacy": Writer(
        # a Doc whose tokens were merged since could not be written
        keep=move_spans,
        check=lambda columns: None,
        find_problem=find_unreadable,
        write=write_spacy,
    ),
}
