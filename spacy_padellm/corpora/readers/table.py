"""Tables in CSV and Parquet: a text and its spans, or tokens and tags, in each row."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spacy_padellm.checks import is_whole
from spacy_padellm.corpora.files import BOM, read_start, read_text
from spacy_padellm.corpora.readers.cells import (
    SURPLUS,
    UNREADABLE,
    cell_value,
    cells_problem,
)
from spacy_padellm.corpora.readers.rows.rows import read_row
from spacy_padellm.corpora.readers.rows.span_rows import TEXT_KEYS
from spacy_padellm.corpora.readers.token_table import (
    TokenRow,
    find_token_columns,
    split_sentences,
)
from spacy_padellm.corpora.records import (
    BadLine,
    ConversionError,
    CorpusRecord,
)
from spacy_padellm.corpora.tokens.tags import TAG, decode_tags
from spacy_padellm.corpora.tokens.words import join_words
from spacy_padellm.errors import Errors, Warnings

if TYPE_CHECKING:
    import pyarrow as pa

DELIMITERS = (",", ";", "\t")

EXCEL_LINE = re.compile(r'\A"?sep=."?\r?\n')
"""The first line by which Excel knows the delimiter."""

PARQUET = b"PAR1"
"""The first bytes of a Parquet file."""

_CELL_ERRORS = (
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    RuntimeError,
    OSError,
)
"""Those of values that Python cannot hold, and of strings that are not UTF-8."""

_MOST_REPEATED = 8  # columns with the name of another one
_QUOTED = re.compile(r'"(?:[^"]|"")*"')  # a cell


def read_table(path: Path, *, joiner: str) -> Iterator[CorpusRecord | BadLine]:
    """Read a table.

    path (Path): A CSV or Parquet file.
    joiner (str): The separator of tokens in rows of tokens.
    YIELDS (CorpusRecord | BadLine): One per row; one per sentence in a table of one
        token a row.
    RAISES (ConversionError): If it cannot be read.
    """
    if read_start(path).startswith(PARQUET):
        yield from _read_rows(path, _parquet_rows(path), joiner=joiner)
    else:
        names, lines = _csv_lines(path)
        _check_repeated(path, names, joiner=joiner)
        yield from _read_rows(path, csv_rows(names, lines), joiner=joiner)


def _check_repeated(path: Path, names: list[str], *, joiner: str) -> None:
    """Check that no column that is read has the name of another one.

    RAISES (ConversionError): If the texts differ with the column that is taken.
    """

    def texts(instead: int | None = None) -> list[CorpusRecord | BadLine]:
        rows = csv_rows(*_csv_lines(path), instead=instead)
        return list(_read_rows(path, rows, joiner=joiner))

    first = _first_columns(names)
    again = [i for i, name in enumerate(names) if name and first[name] < i]
    if not again:
        return
    read = [names[index] for index in again]
    if len(again) <= _MOST_REPEATED:  # each takes another reading of the file
        expected = texts()
        read = [names[index] for index in again if texts(index) != expected]
    if read:
        columns = ", ".join(dict.fromkeys(read))
        raise ConversionError(Errors.P986.format(path=path, columns=columns))


def _read_rows(
    path: Path, cells: Iterable[dict[str, Any]], *, joiner: str
) -> Iterator[CorpusRecord | BadLine]:
    """Read the rows of a table."""
    rows = []
    bad: list[BadLine] = []
    try:
        for row in cells:
            rows.append(row)
    except csv.Error as error:
        reason = f"not CSV, the rest is left out: {error}"
        bad.append(BadLine(path, len(rows) + 1, reason))
    if columns := find_token_columns(rows):
        texts = list(split_sentences(rows, columns))
        # the end of the last sentence is in the rest
        for text in texts[:-1] if bad else texts:
            yield _read_sentence(path, text, bare=columns.bare, joiner=joiner)
    else:
        for number, row in enumerate(rows, start=1):
            if row:
                yield _read_row(path, _parsed(row), number, joiner=joiner)
    yield from bad


def _read_sentence(
    path: Path, tokens: Sequence[TokenRow], *, bare: bool, joiner: str
) -> CorpusRecord | BadLine:
    """Read the rows of a sentence; it is bad as a whole if one of them is."""
    for token in tokens:
        if problem := token.problem():
            reason = f"{problem}; its sentence is left out"
            return BadLine(path, token.number, reason)
    return join_words(
        [token.word for token in tokens],
        decode_tags([token.tag for token in tokens]),
        line=tokens[0].number,
        joiner=joiner,
        notes=(Warnings.W207,) if bare else (),
    )


def _read_row(
    path: Path, row: dict[str, Any], number: int, *, joiner: str
) -> CorpusRecord | BadLine:
    """Read a row of a text, or of a list of tokens."""
    if problem := cells_problem(row):
        return BadLine(path, number, problem)
    try:
        return read_row(row, number, joiner=joiner)
    except ValueError as error:
        return BadLine(path, number, str(error))


def _parsed(row: dict[str, Any]) -> dict[str, Any]:
    """A row with the lists and objects that are written in its cells."""
    return {k: x if k in TEXT_KEYS else cell_value(x) for k, x in row.items()}


def csv_rows(
    names: list[str], lines: Iterable[list[str]], *, instead: int | None = None
) -> Iterator[dict[str, Any]]:
    """Make rows of the cells of CSV.

    names (list[str]): The names of the columns.
    lines (Iterable[list[str]]): The cells of each line; none for an empty line.
    instead (int | None): A column to take instead of the first one of its name.
    YIELDS (dict[str, Any]): Name -> cell; empty for an empty line. Cells without a name
        are a list under `SURPLUS`.
    """
    columns = _first_columns(names)
    if instead is not None:
        columns[names[instead]] = instead
    for cells in lines:
        row: dict[str, Any] = {
            name: cells[index] for name, index in columns.items() if index < len(cells)
        }
        if surplus := cells[len(names) :]:
            row[SURPLUS] = surplus
        yield row


def _first_columns(names: list[str]) -> dict[str, int]:
    columns: dict[str, int] = {}
    for index, name in enumerate(names):
        columns.setdefault(name, index)
    return columns


def _csv_lines(path: Path) -> tuple[list[str], Iterator[list[str]]]:
    """The names of the columns of CSV, in small letters, and the cells of its lines.

    path (Path): CSV with a first line of names, with commas, semicolons or tabs. Lines
        that are no CSV raise a `csv.Error`.
    RAISES (ConversionError): If its first line holds no names.
    """
    text = EXCEL_LINE.sub("", read_text(path).removeprefix(BOM), count=1)
    # whole documents are longer than the limit
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    head = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=head.count)
    is_quoted = not _has_plain_quotes(text, delimiter)
    lines = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE,
    )
    try:
        names = [name.strip().lower() for name in next(lines, [])]
    except csv.Error as error:
        return [], map(_fail, [error])  # when the lines are read
    if any(map(TAG.fullmatch, head.strip().split(delimiter)[1:])):
        raise ConversionError(Errors.P801.format(path=path, line=head.strip()))
    return names, lines


def _fail(error: csv.Error) -> list[str]:
    raise error


def _has_plain_quotes(text: str, delimiter: str) -> bool:
    """Whether a table was written without quoting, and has quotes in its cells.

    Who quotes leaves no cell with a quote that is not quoted as a whole.
    """
    lines = re.split(r"[\r\n]+", text)
    rows = [line.split(delimiter) for line in lines if line.strip()]
    # where a quote begins a cell with delimiters or line breaks, the width differs
    if len({*map(len, rows)}) != 1:
        return False
    if any('"' in row for row in rows):  # a cell that is a quote
        return True
    if all(_is_quoted(cell) for row in rows for cell in row if '"' in cell):
        return False
    if not _is_well_quoted(text, delimiter):
        return True
    # quoted by hand, in a column or in the line of names
    by_hand = any(map(_is_quoted, rows[0])) or _has_quoted_column(rows[1:])
    # texts hold commas: of both readings, the quoted one is the likelier
    return delimiter == "\t" and not by_hand


def _is_quoted(cell: str) -> bool:
    return _QUOTED.fullmatch(cell) is not None


def _has_quoted_column(rows: Sequence[Sequence[str]]) -> bool:
    return any(all(map(_is_quoted, column)) for column in zip(*rows, strict=True))


def _is_well_quoted(text: str, delimiter: str) -> bool:
    """Whether all cells are well-formed, and all lines of one width, with quoting."""
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return len({len(cells) for cells in lines if cells}) == 1
    except csv.Error:
        return False


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Read the rows of Parquet; numbers of tags become their names."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        message = Errors.P400.format(package="pyarrow", extra="annotate")
        raise ConversionError(message) from error
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ConversionError(Errors.P207.format(path=path, reason=error)) from error
    features = _features(table.schema.metadata or {})
    # texts, tags and mentions are no times, which Python may not be able to hold
    read = [i for i, x in enumerate(table.schema) if not pa.types.is_temporal(x.type)]
    names = [table.column_names[i] for i in read]
    columns = [list(_column_cells(table.column(i))) for i in read]
    for number in range(table.num_rows):
        cells = zip(names, (column[number] for column in columns), strict=True)
        yield _parquet_row(dict(cells), features)


def _column_cells(column: pa.ChunkedArray) -> Iterator[Any]:
    """The cells of a column of Parquet; errors, for those that cannot be read."""
    for cell in column:
        try:
            yield cell.as_py()
        except _CELL_ERRORS as error:
            yield error


def _parquet_row(cells: dict[str, Any], features: dict[str, Any]) -> dict[str, Any]:
    """A row, with what is wrong with its cells."""
    row = {key: _named(cell, features.get(key)) for key, cell in cells.items()}
    wrong = [key for key, cell in cells.items() if isinstance(cell, Exception)]
    if wrong:
        row[UNREADABLE] = f"the cell of {wrong[0]!r} cannot be read: {row[wrong[0]]}"
    return row


def _features(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """The features of the columns, as Hugging Face's datasets store them."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _named(cell: Any, feature: Any) -> Any:
    """A cell with the names of its ClassLabels in place of their numbers.

    feature (Any): The cell's feature. Those of lists hold that of their items, and the
        items may be an object of columns.
    """
    if isinstance(feature, list):
        feature = {"feature": feature[0] if feature else None}
    if not isinstance(feature, dict):
        return cell
    inner = feature.get("feature", feature)
    if isinstance(cell, list):
        return [_named(item, inner) for item in cell]
    if isinstance(cell, dict) and isinstance(inner, dict):
        return {key: _named(value, inner.get(key)) for key, value in cell.items()}
    names = feature.get("names")
    if isinstance(names, list) and is_whole(cell) and 0 <= cell < len(names):
        return names[cell]
    return cell
