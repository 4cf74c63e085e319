"""brat's standoff format: pairs of a .txt and an .ann file, one Doc per pair."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from spacy_padellm.corpora.files import COMPRESSIONS, plain_name, read_lines, read_text
from spacy_padellm.corpora.mentions.offsets import SourceMention, char_spans
from spacy_padellm.corpora.records import BadLine, CorpusRecord

OFFSETS = re.compile(r"(\S+) (\d+) (\d+(?:;\d+ \d+)*)")

BEGINNING = re.compile(r"[A-Z#]\d+(?:\s|$)|[#*]\t")
"""How a line of an annotation begins."""

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
    mentions: list[SourceMention] = []
    bad: list[BadLine] = []
    lines = _text_bound(read_lines(ann_path))
    for number, line in lines:
        try:
            mentions.append(_mention(line))
        except ValueError as error:
            bad.append(BadLine(ann_path, number, f"{error}; {LEFT_OUT}"))
    try:
        spans, notes = char_spans(text, mentions)
    except ValueError as error:
        found = [*_disagreements(ann_path, text, lines)]
        bad += found or [BadLine(ann_path, 0, f"{error}; {LEFT_OUT}")]
    if bad:
        yield from sorted(bad, key=lambda each: each.line)
    else:
        yield CorpusRecord(text, spans, line=1, notes=notes)


def _text_bound(lines: list[str]) -> list[tuple[int, str]]:
    """The text-bound annotations, with their line numbers.

    Some tools write a string with its line break, so that it goes on in the next line.
    """
    joined: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start=1):
        if joined and line and not BEGINNING.match(line):
            joined[-1] = joined[-1][0], f"{joined[-1][1]}\n{line}"
        else:
            joined.append((number, line))
    return [(number, line) for number, line in joined if line.startswith("T")]


def _disagreements(
    path: Path, text: str, lines: list[tuple[int, str]]
) -> Iterator[BadLine]:
    """The well-formed lines that do not fit the text."""
    for number, line in lines:
        try:
            mention = _mention(line)
        except ValueError:
            continue
        try:
            char_spans(text, [mention])
        except ValueError as error:
            reason = str(error)
            if ";" in line.split("\t")[1]:
                reason = "discontinuous mention; a span has one start and one end"
            yield BadLine(path, number, f"{reason}; {LEFT_OUT}")


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
