"""A sample of the hostile texts and layouts of `benchmarks.hostile`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings, strategies as st
from spacy.language import Language
from spacy.tokens import Doc

from benchmarks.hostile import (
    annotate_each,
    check_alone,
    check_stream,
    faults_of,
    make_pipeline,
    measure_growth,
)
from benchmarks.hostile_texts import HOSTILE, LAYOUTS, make_texts


@pytest.fixture(scope="module")
def nlp() -> Language:
    return make_pipeline("bundled-en-sm", dtype="float32")


@pytest.mark.parametrize(("kinds", "count"), [(HOSTILE, 100), (LAYOUTS, 28)])
def test_hostile_texts_have_no_faults(
    nlp: Language, kinds: dict[str, object], count: int
) -> None:
    figures = check_stream(nlp, make_texts(kinds, count, seed=1))  # type: ignore[arg-type]
    assert figures["faults"] == {}, figures["examples"]
    assert figures["texts"] == count
    assert figures["mentions"] > count


def test_hostile_texts_are_the_same_alone(nlp: Language) -> None:
    kinds = {**HOSTILE, **LAYOUTS}
    texts = [text for _, text in make_texts(kinds, 51, seed=2)]
    figures = check_alone(nlp, texts)
    assert figures["other_mentions"] == 0, figures["examples"]
    assert figures["largest_difference"] < 1e-4


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.text(st.characters(codec="utf-8")), max_size=5))
def test_hostile_any_text_has_no_faults(nlp: Language, texts: Sequence[str]) -> None:
    for text, (doc, error) in zip(texts, annotate_each(nlp, texts), strict=True):
        assert error is None
        assert isinstance(doc, Doc)
        assert faults_of(doc, text) == []


@pytest.mark.slow
def test_hostile_time_is_linear(nlp: Language) -> None:
    found = measure_growth(nlp, short=500, long=4_000)
    # the square of the length would be a ratio of 8
    assert {kind for kind, times in found.items() if times["ratio"] > 4} == set()
