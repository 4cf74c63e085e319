"""How far ahead a stream of Docs is read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import spacy
from helpers import LABELS, TEXT, make_nlp, named, trained
from spacy.tokens import Doc

from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.pipeline.annotate_docs import decode_by_labels
from spacy_padellm.text.labels import DocLabels
from spacy_padellm.text.stream import MOST_WITHOUT_TEXT
from spacy_padellm.text.windows import Window

MANY = 10 * MOST_WITHOUT_TEXT


class Stream:
    """Texts, and how many of them were read."""

    def __init__(self, first: str, others: str) -> None:
        self.read = 0
        self._first, self._others = first, others

    def __iter__(self) -> Iterator[str]:
        for number in range(MANY):
            self.read += 1
            yield self._others if number else self._first


def test_annotate_docs_model_that_is_not_reached_is_told_before_the_stream_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    nlp = make_nlp(model=named("no-one/no-model"), labels=LABELS)
    texts = Stream(TEXT, TEXT)
    with pytest.raises(ValueError, match="no-one/no-model"):
        next(nlp.pipe(texts, batch_size=256))
    assert texts.read <= 2 * MOST_WITHOUT_TEXT


def test_annotate_docs_text_before_many_empty_ones_is_not_held_back() -> None:
    texts = Stream(TEXT, "")
    docs = trained().pipe(texts, batch_size=256)
    assert next(docs).ents
    assert texts.read <= 2 * MOST_WITHOUT_TEXT
    assert sum(1 for _ in docs) == MANY - 1


def test_annotate_docs_error_of_a_model_is_kept_for_some_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    tries = []

    def make_job(labels: DocLabels | None) -> Any:
        tries.append(labels)
        raise ValueError("no such model")

    def cut(docs: list[Doc], *, fits: Any) -> list[Window]:
        assert not fits("text")
        return []

    def docs() -> Iterator[Doc]:
        nonlocal now
        nlp = spacy.blank("en")
        for _ in range(100):
            yield nlp.make_doc(TEXT)
            now += 0.5

    found = decode_by_labels(docs(), TreeDecoder(), make_job=make_job, cut=cut)
    assert {str(result.error) for result in found} == {"no such model"}
    # a hub that is back is found
    assert len(tries) == 5
