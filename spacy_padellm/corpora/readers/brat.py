"""brat's standoff format: pairs of a .txt and an .ann file, one Doc per pair."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from spacy_padellm.corpora.files import COMPRESSIONS, plain_name, read_lines, read_text
from spacy_padellm.corpora.mentions.offsets import (
    SourceMention,
    char_spans,
    mention_problems,
)
from spacy_padellm.corpora.records import BadLine, CorpusRecord

OFFSETS = re.compile(r"(\S+) (\d+) (\d+(?:;\d+ \d+)*)")

BEGINNING = re.compile(r"[A-Z#]\d+(?:\s|$)|T\S*\t|[#*]\t")
"""How a line of an annotation begins."""

TEXT_BOUND = re.compile(r"T\d+(?:\s|$)|T\S*\t")
"""How that of a mention begins; with a number, or with what some tools write: T_2."""

UNKNOWN = "the line begins as no annotation of brat does (T1, R1, #1 ...)"

LEFT_OUT = "its text is left out, so that nothing in it is learnt as absent"


def read_brat(path: Path) -> Iterator[CorpusRecord | BadLine]:
    """Read a pair of brat files.

    path (Path): The .txt file, or an .ann file, which is only reported if it has no
        .txt file.
    YIELDS (CorpusRecord | BadLine): The text with its text-bound annotations (lines
        `T...`). If some cannot be read, a BadLine for each of them and no text.
        Relations, events, attributes, notes and normalizations are ignored.
    """
    partner = brat_partner(path)
    is_ann = plain_name(path).suffix.lower() == ".ann"
    if partner is None:
        # missing annotation is not empty annotation
        other = ".txt" if is_ann else ".ann"
        yield BadLine(path, 0, f"no {other} file with the same name")
    elif not is_ann:
        yield from _read_pair(path, partner)


def brat_partner(path: Path) -> Path | None:
    """Find the other file of a pair.

    path (Path): A .txt or .ann file.
    RETURNS (Path | None): The .ann or .txt file of the same name, which may be
        compressed, or None if there is none.
    """
    plain = plain_name(path)
    other = ".txt" if plain.suffix.lower() == ".ann" else ".ann"
    packed = [cased for suffix in COMPRESSIONS for cased in _cases(suffix)]
    names = [
        plain.with_name(plain.stem + cased + suffix)
        for cased in _cases(other)
        for suffix in ("", *packed)
    ]
    return next((name for name in names if name.is_file()), None)


def brat_text(path: Path) -> Path:
    """Find the text of an .ann file.

    path (Path): A file or folder.
    RETURNS (Path): The .txt file, if the path is an .ann file with one; else the path.
    """
    is_ann = path.is_file() and plain_name(path).suffix.lower() == ".ann"
    return brat_partner(path) or path if is_ann else path


def _cases(suffix: str) -> tuple[str, str, str]:
    """A suffix in small letters, in capitals, and with one capital."""
    return suffix, suffix.upper(), f".{suffix[1:].capitalize()}"


def _read_pair(text_path: Path, ann_path: Path) -> Iterator[CorpusRecord | BadLine]:
    """Read a text and its annotations."""
    text = read_text(text_path)
    lines = dict(_annotations(read_lines(ann_path)))
    mentions: dict[int, SourceMention] = {}  # by line
    reasons: dict[int, str] = {}
    for number, line in lines.items():
        try:
            if _is_text_bound(line):
                mentions[number] = _mention(line)
        except ValueError as error:
            reasons[number] = str(error)
    found = list(mentions.values())
    try:
        spans, notes = char_spans(text, found)
    except ValueError as error:
        problems = zip(mentions, mention_problems(text, found), strict=True)
        wrong = {n: _reason(lines[n], problem) for n, problem in problems if problem}
        reasons |= wrong or {0: str(error)}
    if reasons:
        for number, reason in sorted(reasons.items()):
            yield BadLine(ann_path, number, f"{reason}; {LEFT_OUT}")
    else:
        yield CorpusRecord(text, spans, line=1, notes=notes)


def _annotations(lines: list[str]) -> Iterator[tuple[int, str]]:
    """The annotations and unknown lines, with their numbers.

    Some tools write a string with its line break, so that a mention goes on in the next
    line.
    """
    first = 0
    parts: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if first and not BEGINNING.match(line) and TEXT_BOUND.match(parts[0]):
            parts.append(line)
            continue
        if first:
            yield first, "\n".join(parts)
        first, parts = number, [line]
    if first:
        yield first, "\n".join(parts)


def _is_text_bound(line: str) -> bool:
    """Whether an annotation is a mention; ValueError if it is of no known kind."""
    if not BEGINNING.match(line):
        raise ValueError(UNKNOWN)
    return TEXT_BOUND.match(line) is not None


def _reason(line: str, problem: str) -> str:
    """Why a well-formed line does not fit the text."""
    if ";" in line.split("\t")[1]:
        return "discontinuous mention; a span has one start and one end"
    return problem


def _mention(line: str) -> SourceMention:
    """Parse a line `T1<tab>LABEL start end<tab>string`; ValueError if malformed."""
    # some tools end each line with a tab
    fields = line.removesuffix("\t").split("\t")
    if len(fields) != 3:
        raise ValueError("not three columns with tabs between them")
    _, position, string = fields
    match = OFFSETS.fullmatch(position)
    if match is None:
        raise ValueError(f"{position!r} is not a label, a start and an end")
    # brat splits a mention at line breaks; if there are words in between, the string
    # differs from the text
    end = int(re.split("[; ]", match[3])[-1])
    return SourceMention(int(match[2]), end, match[1], string)
