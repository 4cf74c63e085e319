"""Label Studio: JSON of tasks, and JSON-MIN."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from spacy_padellm.corpora.mentions.annotators import TASK
from spacy_padellm.corpora.mentions.offsets import SourceMention, char_spans
from spacy_padellm.corpora.readers.rows.span_rows import TEXT_KEYS, read_mention
from spacy_padellm.corpora.records import CorpusRecord

# labels of text; "hypertextlabels" are of HTML, whose offsets are those of its text
KINDS = ("labels", "hypertextlabels")

# what else is asked about a part of a text
OTHERS = {"choices", "rating", "number", "taxonomy", "datetime"}

MIN_KEYS = {"annotation_id", "annotator", "lead_time"}

WHICH = 'which value is the text? In the project, name it and its tag "text"'


def is_task(row: dict[str, Any]) -> bool:
    """Check whether a row is a task of Label Studio's JSON.

    row (dict[str, Any]): A JSON object.
    RETURNS (bool): Whether it is.
    """
    row = _unwrapped(row)
    answers = ("annotations", "completions", "predictions")
    return isinstance(row.get("data"), dict) and any(key in row for key in answers)


def _unwrapped(row: dict[str, Any]) -> dict[str, Any]:
    """A task, from an annotation that holds it, as target storages have them."""
    task = row.get("task")
    return {**task, "annotations": [row]} if isinstance(task, dict) else row


def is_min_row(row: dict[str, Any]) -> bool:
    """Check whether a row is one of Label Studio's JSON-MIN or CSV.

    row (dict[str, Any]): A JSON object.
    RETURNS (bool): Whether it is.
    """
    return len(MIN_KEYS & row.keys()) >= 2


def read_task(row: dict[str, Any], line: int) -> CorpusRecord:
    """Read a task.

    row (dict[str, Any]): A JSON object for which `is_task`.
    line (int): Its line.
    RETURNS (CorpusRecord): The record.
    RAISES (ValueError): If it is malformed, not annotated, or its annotations differ;
        with the reason.
    """
    row = _unwrapped(row)
    annotations = row.get("annotations", row.get("completions"))
    if not isinstance(annotations, list):
        raise ValueError("no annotation: predictions are none")
    if not all(isinstance(each, dict) for each in annotations):
        raise ValueError("its annotations are no objects; export as JSON")
    kept = [each for each in annotations if not each.get("was_cancelled")]
    kept = [each for each in kept if each.get("ground_truth")] or kept
    if not kept:
        raise ValueError("no annotation: the task was skipped or not annotated")
    found = [_results(each.get("result")) for each in kept]
    if any(set(other) != set(found[0]) for other in found):
        raise ValueError(
            f"{len(kept)} annotations that differ; keep one of them in Label Studio, "
            "or mark it as ground truth"
        )
    data, fields = row["data"], _fields(kept)
    if len(fields) > 1:
        raise ValueError(
            f"regions in several texts: {', '.join(fields)}. Label each text in a task "
            "of its own"
        )
    # the name is that of the tag in the project, which may be another than the value's
    named = [name for name in fields if isinstance(data.get(name), str)]
    data = {name: data[name] for name in named} or data
    is_sure = bool(named) or (not fields and "text" in data)
    return _numbered(_record(data, found[0], line, is_sure=is_sure), row)


def read_min_row(row: dict[str, Any], line: int) -> CorpusRecord:
    """Read a row of JSON-MIN.

    row (dict[str, Any]): A JSON object for which `is_min_row`.
    line (int): Its line.
    RETURNS (CorpusRecord): The record. A row without regions is annotated.
    RAISES (ValueError): If it is malformed; with the reason.
    """
    mentions = [
        mention
        for value in row.values()
        if isinstance(value, list)
        for region in value
        if isinstance(region, dict) and "start" in region
        for mention in _region(region)
    ]
    record = _record(row, mentions, line, is_sure="text" in row)
    return _numbered(record, row)


def _numbered(record: CorpusRecord, row: dict[str, Any]) -> CorpusRecord:
    """A record with the number of its task, which may be in other rows and files."""
    task = row.get("id")
    return (
        replace(record, example=(TASK, task)) if isinstance(task, str | int) else record
    )


def _results(results: Any) -> list[SourceMention]:
    """The mentions of an annotation."""
    if not isinstance(results, list):
        raise ValueError("an annotation has no list of results")
    mentions: list[SourceMention] = []
    for result in results:
        if not isinstance(result, dict):
            raise ValueError("a result is no object")
        if _is_region(result):
            mentions += _region(result["value"])
    return mentions


def _is_region(result: dict[str, Any]) -> bool:
    """Whether a result is about a part of a text."""
    value = result.get("value")
    # relations, choices and comments have no start
    return isinstance(value, dict) and "start" in value


def _fields(annotations: list[dict[str, Any]]) -> list[str]:
    """The names of the texts that annotations have regions in, if they say so."""
    results = (result for each in annotations for result in each["result"])
    names = (result.get("to_name") for result in results if _is_region(result))
    return sorted({name for name in names if isinstance(name, str)})


def _region(value: dict[str, Any]) -> list[SourceMention]:
    """The mentions of a region, one for each of its labels."""
    labels = next((value[kind] for kind in KINDS if kind in value), None)
    if labels is None and (OTHERS & value.keys() or _is_note(value)):
        return []
    kind = next((key for key in value if key.endswith("labels")), None)
    if kind is not None and kind not in KINDS:
        raise ValueError(f'regions of {kind} are not read, only those of "labels"')
    if not labels:
        raise ValueError("a region has no label; give it one, or delete it")
    offsets = value.get("globalOffsets")
    span = offsets if isinstance(offsets, dict) else value
    mention = {
        "start": span.get("start"),
        "end": span.get("end"),
        "labels": labels,
        "text": value.get("text"),
    }
    return list(read_mention(mention, ""))


def _is_note(value: dict[str, Any]) -> bool:
    """Whether a region is a text that an annotator wrote about it."""
    return isinstance(value.get("text"), list)


def _record(
    data: dict[str, Any], mentions: list[SourceMention], line: int, *, is_sure: bool
) -> CorpusRecord:
    """Make the record; the text is the first value that the mentions fit.

    is_sure (bool): Whether that is so if they fit others too; else it is an error.
    """
    names = [*TEXT_KEYS, *(key for key in data if key not in TEXT_KEYS)]
    texts = [data[key] for key in names if isinstance(data.get(key), str)]
    if not mentions and "text" not in data and len(texts) > 1:
        raise ValueError(WHICH)
    problem = "the task has no text"
    found: list[CorpusRecord] = []
    for text in dict.fromkeys(texts):
        if text.startswith(("/data/", "http", "s3:", "gs:")) and not text.split()[1:]:
            problem = f"its text is in another file: {text}"
            continue
        try:
            spans, notes = char_spans(text, mentions)
        except ValueError as error:
            problem = problem if problem.startswith("the text at") else str(error)
            if text.lstrip().startswith("<"):
                problem += ". It is HTML, of which the offsets count what is shown"
        else:
            found.append(CorpusRecord(text, spans, line, notes=notes))
    if not found:
        raise ValueError(problem)
    if len(found) > 1 and mentions and not is_sure:
        raise ValueError(WHICH)
    return found[0]
