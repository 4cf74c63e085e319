"""brat's standoff format: pairs of a .txt and an .ann file, one Doc per pair."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from spacy_padellm.corpora.files import COMPRESSIONS, plain_name, read_lines, read_text
from spacy_padellm.corpora.records import BadLine, CharSpan, CorpusRecord, span_problem

OFFSETS = re.compile(r"(\S+) (\d+) (\d+(?:;\d+ \d+)*)")


def read_brat(path: Path) -> Iterator[CorpusRecord | BadLine]:
    """Read a pair of brat files.

    path (Path): The .txt file, or an .ann file, which is only reported if it has no
        .txt file.
    YIELDS (CorpusRecord | BadLine): The text with its text-bound annotations (lines
        `T...`), and a BadLine for each annotation that is left out. Relations, events,
        attributes, notes and normalizations are ignored.
    """
    other = ".txt" if plain_name(path).suffix == ".ann" else ".ann"
    partner = _find(plain_name(path).with_suffix(other))
    if partner is None:
        # missing annotation is not empty annotation
        yield BadLine(path, 0, f"no {other} file with the same name")
    elif other == ".ann":
        yield from _read_pair(path, partner)


def _find(path: Path) -> Path | None:
    """Find a file by its name without compression suffix."""
    names = (path, *(path.with_name(path.name + suffix) for suffix in COMPRESSIONS))
    return next((name for name in names if name.is_file()), None)


def _read_pair(text_path: Path, ann_path: Path) -> Iterator[CorpusRecord | BadLine]:
    """Read a text and its annotations."""
    text = read_text(text_path)
    spans: list[CharSpan] = []
    for number, line in enumerate(read_lines(ann_path), start=1):
        if not line.startswith("T"):
            continue
        try:
            spans.append(_span(text, line))
        except ValueError as error:
            yield BadLine(ann_path, number, str(error))
    yield CorpusRecord(text, tuple(spans), line=1)


def _span(text: str, line: str) -> CharSpan:
    """Parse a line `T1<tab>LABEL start end<tab>string`; ValueError if malformed."""
    fields = line.split("\t")
    if len(fields) != 3:
        raise ValueError("not three columns with tabs between them")
    _, position, mention = fields
    match = OFFSETS.fullmatch(position)
    if match is None:
        raise ValueError(f"{position!r} is not a label, a start and an end")
    *ends, end = map(int, re.split("[; ]", match[3]))
    # brat splits a mention at line breaks
    if any(text[a:b].strip() for a, b in zip(ends[::2], ends[1::2], strict=True)):
        raise ValueError(
            f"discontinuous mention ({position}); a span has one start and end"
        )
    span = int(match[2]), end, match[1]
    if problem := span_problem(text, span):
        raise ValueError(problem)
    string = text[span[0] : span[1]]
    # brat replaces line breaks in the string of a mention
    if re.sub(r"\s", " ", string) != re.sub(r"\s", " ", mention):
        raise ValueError(f"the text at {span[0]}-{span[1]} is {string!r}")
    return span
