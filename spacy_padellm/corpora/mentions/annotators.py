"""Examples that several annotators worked on, in one file or in a file each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from spacy_padellm.corpora.mentions.offsets import SourceMention
from spacy_padellm.corpora.records import BadLine, CorpusRecord
from spacy_padellm.errors import Warnings

USER_KEYS = ("user", "annotator", "created_by")
"""Keys that name who made a mention."""

HASH = "_input_hash"  # of Prodigy: sessions of several annotators are in one file
NUMBER = "id"  # of doccano, which writes a file for each annotator
TASK = "task"  # of Label Studio, which may write a row or a file for each annotator

FileItem = tuple[Path, CorpusRecord | BadLine]


def example_of(row: dict[str, Any]) -> tuple[str, str | int] | None:
    """Find what numbers an example.

    row (dict[str, Any]): A JSON object.
    RETURNS (tuple[str, str | int] | None): Its key and value, or None if there is none.
    """
    for key in (HASH, NUMBER):
        if isinstance(value := row.get(key), str | int):
            return key, value
    return None


def check_users(made: Sequence[tuple[Any, Sequence[SourceMention]]]) -> None:
    """Check that the mentions of several users do not contradict each other.

    made (Sequence[tuple[Any, Sequence[SourceMention]]]): Mentions as JSON, and as read.
    RAISES (ValueError): If two users marked the same characters differently.
    """
    by_user: dict[str, set[tuple[int, int, str]]] = {}
    for source, mentions in made:
        row = source if isinstance(source, dict) else {}
        user = next((row[key] for key in USER_KEYS if row.get(key)), None)
        if user is not None:
            marked = by_user.setdefault(str(user), set())
            marked.update((each.start, each.end, each.label) for each in mentions)
    for (first, ours), (second, theirs) in combinations(by_user.items(), 2):
        if any(a[0] < b[1] and b[0] < a[1] for a in ours - theirs for b in theirs):
            raise ValueError(
                f"the mentions of the annotators {first} and {second} differ; keep "
                "those of one of them"
            )


def merge_annotators(items: Sequence[FileItem]) -> list[FileItem]:
    """Keep one of the records of an example that several annotators worked on.

    An annotator's file of doccano has all examples, without mentions where only others
    worked. Where two annotators made different mentions, none is kept, as they would
    contradict each other in training.

    items (Sequence[FileItem]): All records and bad lines, each with its file.
    RETURNS (list[FileItem]): The same, in order, with one record for each example.
    """
    kept: list[FileItem | None] = [*items]
    groups: dict[Any, list[tuple[int, Path, CorpusRecord]]] = {}
    for index, (path, item) in enumerate(items):
        if isinstance(item, CorpusRecord) and item.example is not None:
            group = groups.setdefault((item.example, item.text), [])
            group.append((index, path, item))
    for (example, _), group in groups.items():
        several = example[0] != NUMBER or len({path for _, path, _ in group}) > 1
        if len(group) > 1 and several:
            merged = _merge_group(group)
            for index, _, _ in group:
                kept[index] = merged.get(index)
    return [each for each in kept if each]


def _merge_group(
    group: Sequence[tuple[int, Path, CorpusRecord]],
) -> dict[int, FileItem]:
    """The items of one example that are kept, by their index."""
    # doccano's texts without mentions may be those that nobody worked on
    is_doccano = any(r.example and r.example[0] == NUMBER for _, _, r in group)
    filled = [each for each in group if each[2].spans or not is_doccano]
    if len({frozenset(record.spans) for _, _, record in filled}) < 2:
        index, path, record = (filled or group)[0]
        notes = [*record.notes, *[Warnings.W727] * (len(group) - 1)]
        return {index: (path, replace(record, notes=tuple(notes)))}
    bad: dict[int, FileItem] = {}
    for index, path, record in filled:
        other = next(x for x in filled if set(x[2].spans) != set(record.spans))
        reason = (
            f"annotated differently in {other[1].name}:{other[2].line}; keep the "
            "mentions of one annotator"
        )
        bad[index] = path, BadLine(path, record.line, reason)
    return bad
