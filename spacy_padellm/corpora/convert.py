"""Convert a file or folder of NER data to one `.spacy` file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc, DocBin

from spacy_padellm.corpora.files import left_out, plain_name, source_files
from spacy_padellm.corpora.mentions.annotators import FileItem, merge_annotators
from spacy_padellm.corpora.mentions.trim import trim_spans
from spacy_padellm.corpora.readers.brat import brat_text, read_brat
from spacy_padellm.corpora.readers.cluener import read_cluener
from spacy_padellm.corpora.readers.conll.conll import read_conll
from spacy_padellm.corpora.readers.jsonl import read_jsonl
from spacy_padellm.corpora.readers.paper import read_paper
from spacy_padellm.corpora.readers.table import read_table
from spacy_padellm.corpora.recognize import check_known, is_brat_folder, recognize
from spacy_padellm.corpora.records import (
    BadLine,
    ConversionError,
    CorpusRecord,
    record_problem,
)
from spacy_padellm.corpora.writing.docs import (
    count_overlaps,
    first_overlap,
    make_doc,
    set_mentions,
)
from spacy_padellm.corpora.writing.languages import blank_pipeline, joiner_of
from spacy_padellm.errors import Errors, Warnings
from spacy_padellm.progress import count_progress
from spacy_padellm.text.labels import LABELS_KEY
from spacy_padellm.text.tokenizing import TokenizingError
from spacy_padellm.writable import check_writable, write_whole

Reader = Callable[[Path], Iterator[CorpusRecord | BadLine]]

AUTO = "auto"
"""The format that is recognized by the content of each file."""

SUFFIXES = {
    "paper": {".json", ".jsonl"},
    "conll": {".conll", ".conllu", ".iob", ".iob2", ".bio", ".tsv", ".txt"},
    "brat": {".txt", ".ann"},
    "jsonl": {".json", ".jsonl"},
    "cluener": {".json", ".jsonl"},
    "table": {".csv", ".tsv", ".parquet"},
}
"""Format -> suffixes of its files in a folder."""

FORMATS = (AUTO, *SUFFIXES)

SPANS_KEY = "padellm"
"""The key of `doc.spans` by default."""


@dataclass(slots=True)
class ConversionReport:
    """The counts of a conversion.

    files (int): The number of files read.
    docs (int): The number of Docs written.
    labels (Counter[str]): The number of mentions written, by label.
    overlaps (Counter[str]): The number of mentions that overlap others, by kind.
    outside_ents (int): The number of mentions in `doc.spans` but not in `doc.ents`,
        because they overlap others.
    duplicates (int): The number of mentions dropped as exact duplicates.
    split_docs (int): The number of Docs where a token was split at the boundary of a
        mention.
    notes (Counter[str]): What was left out or changed, and how often.
    bad (list[BadLine]): The lines that were left out.
    """

    files: int = 0
    docs: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    overlaps: Counter[str] = field(default_factory=Counter)
    outside_ents: int = 0
    duplicates: int = 0
    split_docs: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    bad: list[BadLine] = field(default_factory=list)


def convert(
    source: Path,
    target: Path,
    *,
    data_format: str,
    lang: str,
    flat: bool,
    spans_key: str,
    own_labels: bool = False,
    names: Mapping[str, str] | None = None,
    tag_column: int | None = None,
    token_column: int | None = None,
) -> ConversionReport:
    """Convert NER data to a `.spacy` file that `spacy.Corpus.v1` reads.

    source (Path): A file or a folder, plain or compressed.
    target (Path): The file to write; its folder is created.
    data_format (str): One of `FORMATS`.
    lang (str): The code of a language of spaCy.
    flat (bool): Write `doc.ents` only; overlapping mentions are an error.
    spans_key (str): The key of `doc.spans` for all mentions; the default if `flat`.
    own_labels (bool): Record in each Doc's user data which labels the source annotates,
        so that it can be combined in training with sources that annotate other labels.
    names (Mapping[str, str] | None): Label of the source -> label to write.
    tag_column (int | None): conll only: the column of the tags; None to detect it.
    token_column (int | None): conll only: the column of the tokens; None to detect it.
    RETURNS (ConversionReport): The counts of what was written and left out.
    RAISES (ConversionError): If nothing useful can be written.
    """
    _check_target(source, target)
    if flat and spans_key != SPANS_KEY:
        raise ConversionError(Errors.P728)
    nlp = blank_pipeline(lang)
    readers = _readers(lang=lang, tag_column=tag_column, token_column=token_column)
    report = ConversionReport()
    try:
        formats = _formats(source, data_format, report.bad)
    except OSError as error:  # of a folder that may not be read
        raise ConversionError(Errors.P207.format(path=source, reason=error)) from error
    report.files = len(formats)
    known = {*formats, *(each.path for each in report.bad)}
    if others := left_out(source, known, target=target):
        report.notes[Warnings.W967.format(names=", ".join(others))] = len(others)
    if (tag_column, token_column) != (None, None) and "conll" not in formats.values():
        found = ", ".join(sorted(set(formats.values())))
        raise ConversionError(Errors.P212.format(path=source, formats=found))
    key = None if flat else spans_key
    items = (
        (path, item)
        for path, name in formats.items()
        for item in _items(path, readers[name], alone=path == source)
    )
    read = list(_rename(count_progress(items), names or {}, source=source))
    docs = list(_make_docs(nlp, read, key=key, report=report))
    if not report.docs:
        for path in formats:
            check_known(path)
    _check_result(source, report)
    if own_labels:
        for doc in docs:
            doc.user_data[LABELS_KEY] = sorted(report.labels)
    _write(docs, target, store_user_data=own_labels)
    return report


def _check_target(source: Path, target: Path) -> None:
    """Check, before the work, that the target can be written without a loss."""
    if target.suffix != ".spacy":
        raise ConversionError(Errors.P211.format(path=target))
    try:
        check_writable(target, inputs=[source])
    except ValueError as error:
        raise ConversionError(str(error)) from error


def _rename(
    items: Iterable[FileItem], names: Mapping[str, str], *, source: Path
) -> Iterator[FileItem]:
    """Rename the labels of records; each label to rename must occur."""
    found: set[str] = set()
    for path, item in items:
        if isinstance(item, CorpusRecord):
            # blanks at the edges of labels are trimmed later
            found.update(label.strip() for _, _, label in item.spans)
            spans = tuple((s, e, names.get(x.strip(), x)) for s, e, x in item.spans)
            item = replace(item, spans=spans)
        yield path, item
    missing = set(names) - found
    if found and missing:
        raise ConversionError(
            Errors.P900.format(
                path=source,
                labels=", ".join(sorted(missing)),
                known=", ".join(sorted(found)),
            )
        )


def _make_docs(
    nlp: Language,
    items: Sequence[FileItem],
    *,
    key: str | None,
    report: ConversionReport,
) -> Iterator[Doc]:
    """Make the annotated Docs of records, and count them and the bad lines."""
    for path, item in merge_annotators(items):
        if isinstance(item, CorpusRecord):
            made = _make_gold(nlp, item, path=path, key=key, report=report)
        else:
            made = item
        if isinstance(made, BadLine):
            report.bad.append(made)
        else:
            yield made


def _write(docs: list[Doc], target: Path, *, store_user_data: bool) -> None:
    """Write Docs to a file; its folder is created."""
    attrs = ["ENT_IOB", "ENT_TYPE"]
    corpus = DocBin(attrs=attrs, docs=docs, store_user_data=store_user_data)
    try:
        content = corpus.to_bytes()
    except ValueError as error:  # spaCy's E870
        raise ConversionError(Errors.P920.format(path=target)) from error
    try:
        write_whole(target, content)
    except OSError as error:
        raise ConversionError(Errors.P213.format(path=target, error=error)) from error


def _formats(source: Path, data_format: str, bad: list[BadLine]) -> dict[Path, str]:
    """The files to read and the format of each; check the format.

    A file of a folder that is of no format goes to `bad`.
    """
    if data_format not in FORMATS:
        raise ConversionError(
            Errors.P200.format(format=data_format, formats=", ".join(FORMATS))
        )
    source = brat_text(source)
    suffixes = SUFFIXES.get(data_format, set().union(*SUFFIXES.values()))
    files = source_files(source, data_format=data_format, suffixes=suffixes)
    if data_format != AUTO:
        return dict.fromkeys(files, data_format)
    formats: dict[Path, str] = {}
    in_brat = is_brat_folder(source)
    for path in files:
        try:
            is_text = in_brat and plain_name(path).suffix.lower() == ".txt"
            formats[path] = "brat" if is_text else recognize(path)
        except ConversionError as error:
            if path == source:
                raise
            bad.append(_bad_file(path, error))
    return formats


def _items(
    path: Path, reader: Reader, *, alone: bool
) -> Iterator[CorpusRecord | BadLine]:
    """Read a file; unless it is alone, it is bad as a whole if it cannot be read."""
    try:
        yield from reader(path)
    except ConversionError as error:
        if alone:
            raise
        yield _bad_file(path, error)


def _bad_file(path: Path, error: ConversionError) -> BadLine:
    reason = str(error).removeprefix(str(path)).lstrip(": ").removeprefix("is ")
    return BadLine(path, 0, reason)


def _readers(
    *, lang: str, tag_column: int | None, token_column: int | None
) -> dict[str, Reader]:
    """The reader of each format."""
    joiner = joiner_of(lang)
    conll = partial(
        read_conll, joiner=joiner, tag_column=tag_column, token_column=token_column
    )
    return {
        "paper": read_paper,
        "conll": conll,
        "brat": read_brat,
        "jsonl": partial(read_jsonl, joiner=joiner),
        "cluener": read_cluener,
        "table": partial(read_table, joiner=joiner),
    }


def _make_gold(
    nlp: Language,
    record: CorpusRecord,
    *,
    path: Path,
    key: str | None,
    report: ConversionReport,
) -> Doc | BadLine:
    """Make the annotated Doc of a record and count it."""
    if problem := record_problem(record):
        return BadLine(path, record.line, problem)
    record = trim_spans(record)
    try:
        doc, was_split = make_doc(nlp, record)
    except TokenizingError as error:
        return BadLine(path, record.line, str(error))
    spans = sorted(set(record.spans))
    overlap = first_overlap(spans)
    if overlap and key is None:
        first, second = (f"{record.text[s:e]!r} ({x})" for s, e, x in overlap)
        raise ConversionError(
            Errors.P206.format(path=path, line=record.line, first=first, second=second)
        )
    set_mentions(doc, spans, spans_key=key)
    report.docs += 1
    report.labels.update(label for _, _, label in spans)
    report.overlaps.update(count_overlaps(spans) if overlap else ())
    report.outside_ents += len(spans) - len(doc.ents)
    report.duplicates += len(record.spans) - len(spans)
    report.split_docs += was_split
    report.notes.update(record.notes)
    return doc


def _check_result(source: Path, report: ConversionReport) -> None:
    """Check that the result can be used for training."""
    first = f", the first: {report.bad[0]}" if report.bad else ""
    if not report.docs:
        raise ConversionError(
            Errors.P204.format(path=source, bad=len(report.bad), first=first)
        )
    if not report.labels:
        message = Errors.P205.format(
            path=source, docs=report.docs, bad=len(report.bad), first=first
        )
        raise ConversionError(message)
