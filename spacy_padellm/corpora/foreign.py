"""Names of the formats that are not read, each with what to do instead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_AUTOML = (
    "this is AutoML's entity extraction; write each text with start, end and label"
)
_COMPREHEND = (
    "this is Amazon Comprehend, whose texts are in other files; write each text with "
    "its spans"
)
_CHAT = "this is data for a chat model; write each text with its spans"
# keys that all are in a row -> what the row is, and what to do
ROWS: tuple[tuple[frozenset[str], str], ...] = (
    (
        frozenset({"paragraphs"}),
        "this is spaCy 2's JSON or SQuAD; convert the former with 'python -m spacy "
        "convert'",
    ),
    (
        frozenset({"intents", "utterances"}),
        "this is LUIS; export the entities as text with start and end",
    ),
    (
        frozenset({"annotatable"}),
        "this is tagtog, whose texts are in other files; export as entitiestsv",
    ),
    (
        frozenset({"projectFileVersion", "assets"}),
        "this is Azure's custom NER, whose texts are in other files; write each text "
        "with its spans",
    ),
    (
        frozenset({"textSegmentAnnotations"}),
        "this is Vertex AI's entity extraction; write each text with start, end and "
        "label",
    ),
    (
        frozenset({"text_snippet"}),
        _AUTOML,
    ),
    (
        frozenset({"textSnippet"}),
        _AUTOML,
    ),
    (
        frozenset({"File", "Entities"}),
        _COMPREHEND,
    ),
    (
        frozenset({"begin offset", "end offset"}),
        _COMPREHEND,
    ),
    (
        frozenset({"rows", "features"}),
        "this is the dataset viewer of Hugging Face; write the data set with "
        "dataset.to_parquet",
    ),
    (
        frozenset({"source-ref"}),
        "this is SageMaker Ground Truth, whose texts are in other files; write each "
        "text with its spans",
    ),
    (
        frozenset({"%TYPES"}),
        "this is UIMA CAS (INCEpTION, WebAnno); export as CoNLL 2002 or WebAnno's "
        "CoNLL 2003",
    ),
    (
        frozenset({"sents", "vertexSet"}),
        "this is DocRED, which counts words; write tokens and ner_tags (B-, I-, O)",
    ),
    (
        frozenset({"sentences", "ner"}),
        "this is DyGIE++ or PURE, which counts words; write tokens and ner_tags "
        "(B-, I-, O)",
    ),
    (
        frozenset({"tokenized_text", "ner"}),
        "this is GLiNER's data, which counts words; write tokens and ner_tags "
        "(B-, I-, O)",
    ),
    (
        frozenset({"messages"}),
        _CHAT,
    ),
    (
        frozenset({"conversations"}),
        _CHAT,
    ),
    (
        frozenset({"instruction", "output"}),
        _CHAT,
    ),
    (
        frozenset({"documents", "source"}),
        "this is BioC; write each passage with its spans, less the passage's offset",
    ),
    (
        frozenset({"passages", "entities"}),
        "this is BigBio's knowledge base; write each passage with its spans, less the "
        "passage's offset",
    ),
)

# keys of a table, whose values hold one column each
COLUMNS = frozenset(
    {"text", "tokens", "words", "sentence", "spans", "entities", "ner_tags", "label"}
)

MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a zip archive or an Office file", "Unpack it, or save as CSV."),
    (
        b"SQLite format 3",
        "a database, e.g. Prodigy's",
        "Export it: python -m prodigy db-out NAME > annotations.jsonl",
    ),
    (
        b"ARROW1",
        "an Arrow file, e.g. of datasets.save_to_disk",
        "Write it with dataset.to_parquet or to_json.",
    ),
    (b"\xff\xff\xff\xff", "an Arrow stream", "Write it with dataset.to_parquet."),
    (b"\xd0\xcf\x11\xe0", "an Office file", "Save it as CSV."),
    (b"\x1f\x8b", "compressed with gzip", "Let its name end in .gz."),
    (b"BZh9", "compressed with bzip2", "Let its name end in .bz2."),
    (b"\xfd7zXZ", "compressed with xz", "Let its name end in .xz."),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard", "Unpack it: zstd -d FILE"),
    *(
        (b"\x80" + bytes([n]), "a pickle", "Write the data as JSON or Parquet.")
        for n in range(2, 6)
    ),
    (b"%PDF", "a PDF", "Annotate its text with a tool that exports spans."),
    (b"\xff\xfe", "text in UTF-16", "Save it as UTF-8."),
    (b"\xfe\xff", "text in UTF-16", "Save it as UTF-8."),
)
"""First bytes of a file -> what it is, and what to do."""

TEXTS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r"#FORMAT=WebAnno"),
        "WebAnno TSV",
        "Export as CoNLL 2002 or CoNLL 2003 from WebAnno or INCEpTION.",
    ),
    (
        re.compile(r"\d+\|t\|"),
        "PubTator",
        "Convert it to JSON with spans.",
    ),
    (
        re.compile(r"<START(:\w+)?> |[^\n]*\S <START(:\w+)?> "),
        "OpenNLP's training text",
        "Convert it to columns of tokens and tags, or to JSON with spans.",
    ),
    (
        re.compile(r"[^\n]*<(ENAMEX|NUMEX|TIMEX)\b"),
        "text with MUC's tags",
        "Convert it to columns of tokens and tags, or to JSON with spans.",
    ),
    (
        re.compile(r"\s*<(\?xml|!DOCTYPE|\w+( [\w:]+=|>\s*<|>\s*\n))", re.IGNORECASE),
        "XML or HTML",
        "Export as JSON with spans, as CoNLL columns or as brat from the tool that "
        "wrote it.",
    ),
    (
        re.compile(
            r"(\s*#[^\n]*\n)*\s*([A-Za-z_]\w* *= *[\[({]"
            r"|import (?!O\n)[\w.]+( as \w+)?\n"
            r"|from [\w.]+ import \w|\[\s*\(|[\[\s]*\{\s*')"
        ),
        "Python code",
        "Write the data with json.dump.",
    ),
)
"""The beginning of a text -> what it is, and what to do."""


def row_name(row: Mapping[str, Any]) -> str | None:
    """Name the format of a row that is not read.

    row (Mapping[str, Any]): A JSON object.
    RETURNS (str | None): What it is and what to do, or None if it is unknown.
    """
    if isinstance(row.get("source"), str) and any(
        isinstance(value, dict) and "annotations" in value for value in row.values()
    ):
        return (
            "this is SageMaker Ground Truth; write each text with start, end and label"
        )
    if any(key.endswith(".responses") for key in row):
        return "this is Argilla; write each text with the spans of a response"
    columns = [row[key] for key in COLUMNS & row.keys()]
    if len(columns) > 1 and all(map(_is_column, columns)):
        return (
            "these are columns, not rows; write df.to_json(path, orient='records', "
            "lines=True), or dataset.to_json(path)"
        )
    return next((name for keys, name in ROWS if keys <= row.keys()), None)


def _is_column(value: Any) -> bool:
    """Whether a value holds the cells of a column: {"0": ...} or [[...], ...]."""
    cells = list(value.values()) if isinstance(value, dict) else value
    numbered = isinstance(value, dict) and all(str(x).isdigit() for x in value)
    return (
        isinstance(cells, list)
        and bool(cells)
        and (numbered or all(isinstance(cell, list) for cell in cells))
    )


def file_name(start: bytes) -> tuple[str, str] | None:
    """Name the format of a file that is not read.

    start (bytes): The beginning of the file, decompressed.
    RETURNS (tuple[str, str] | None): What it is and what to do, or None if it is
        unknown.
    """
    for magic, kind, remedy in MAGIC:
        if start.startswith(magic):
            return kind, remedy
    text = start.decode("utf-8", "ignore").removeprefix("\ufeff")
    found = ((kind, todo) for pattern, kind, todo in TEXTS if pattern.match(text))
    return next(found, None)
