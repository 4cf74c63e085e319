"""Suggestions in the formats of annotation tools, with the model's mentions."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from spacy_padellm.corpora.files import plain_name
from spacy_padellm.corpora.mentions.annotators import HASH, NUMBER
from spacy_padellm.corpora.readers.rows.label_studio import MIN_KEYS
from spacy_padellm.corpora.readers.rows.span_rows import KEYS
from spacy_padellm.writable import write_whole


class Tool(str, Enum):
    """The tool that will read the suggestions: prodigy, label_studio or doccano."""

    prodigy = "prodigy"
    label_studio = "label-studio"
    doccano = "doccano"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A text that is worth annotating.

    text (str): The text.
    mentions (Sequence[tuple[int, int, str, float]]): The start, the end (exclusive),
        the label and the probability of each of the model's mentions; without overlaps.
    score (float): The probability that there is something to correct.
    meta (dict[str, Any]): Where the text comes from.
    nested (Sequence[tuple[int, int, str, float]]): The model's other mentions, which
        overlap those.
    """

    text: str
    mentions: Sequence[tuple[int, int, str, float]]
    score: float
    meta: dict[str, Any] = field(default_factory=dict)
    nested: Sequence[tuple[int, int, str, float]] = ()

    def all_mentions(self) -> list[tuple[int, int, str, float]]:
        """RETURNS (list[tuple[int, int, str, float]]): All mentions, in text order."""
        return sorted([*self.mentions, *self.nested])


def free_key(name: str, taken: Collection[str]) -> str:
    """Choose a key for a value beside a user's own ones.

    name (str): The key, if it is free.
    taken (Collection[str]): The keys that are not.
    RETURNS (str): The key, else with "padellm_" before it as often as it takes.
    """
    return free_key(f"padellm_{name}", taken) if name in taken else name


def write_suggestions(
    suggestions: Sequence[Suggestion], path: Path, *, tool: Tool, model: str
) -> None:
    """Write suggestions.

    suggestions (Sequence[Suggestion]): The suggestions, the most useful one first.
    path (Path): The file: JSON lines, or one list if its name ends in .json; compressed
        if .gz, .bz2 or .xz follows.
    tool (Tool): The tool that will read it.
    model (str): The model's name.
    """
    make: Callable[[Suggestion, str], dict[str, Any]] = _MAKERS[tool]
    rows = [
        json.dumps(make(suggestion, model), ensure_ascii=False)
        for suggestion in suggestions
    ]
    is_list = plain_name(path).suffix.lower() == ".json"
    content = f"[{','.join(rows)}]\n" if is_list else "".join(f"{r}\n" for r in rows)
    write_whole(path, content.encode())


def _prodigy(suggestion: Suggestion, model: str) -> dict[str, Any]:
    # its interface for entities has no overlaps
    spans = [
        {"start": start, "end": end, "label": label, "score": round(score, 4)}
        for start, end, label, score in suggestion.mentions
    ]
    meta = {**suggestion.meta, **_facts(suggestion, model)}
    return {"text": suggestion.text, "spans": spans, "meta": meta}


def _label_studio(suggestion: Suggestion, model: str) -> dict[str, Any]:
    mentions = suggestion.all_mentions()
    # the names are those of its template for named-entity recognition
    results = [
        {
            "id": f"m{number}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "score": round(score, 4),
            "value": {
                "start": start,
                "end": end,
                "text": suggestion.text[start:end],
                "labels": [label],
            },
        }
        for number, (start, end, label, score) in enumerate(mentions, 1)
    ]
    prediction = {
        "model_version": model,
        # the tool shows low scores first; high ones are the model's doubts here
        "score": round(1 - suggestion.score, 4),
        "result": results,
    }
    data = {"text": suggestion.text, "meta": suggestion.meta}
    return {"data": data, "predictions": [prediction]}


def _doccano(suggestion: Suggestion, model: str) -> dict[str, Any]:
    labels = [[start, end, label] for start, end, label, _ in suggestion.all_mentions()]
    return {
        **{key: v for key, v in suggestion.meta.items() if key not in _DOCCANO},
        "text": suggestion.text,
        "label": labels,
        **_facts(suggestion, model),
    }


def _facts(suggestion: Suggestion, model: str) -> dict[str, Any]:
    """The model and the score, under keys that the text's own values leave free."""
    facts = {"model": model, "score": round(suggestion.score, 4)}
    return {free_key(key, suggestion.meta): value for key, value in facts.items()}


# keys that doccano, or `convert`, would take for annotation
_DOCCANO = {*KEYS, *MIN_KEYS, HASH, NUMBER, "answer", "_view_id", "relations", "cats"}
_MAKERS: dict[Tool, Callable[[Suggestion, str], dict[str, Any]]] = {
    Tool.prodigy: _prodigy,
    Tool.label_studio: _label_studio,
    Tool.doccano: _doccano,
}
