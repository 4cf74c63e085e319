from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from helpers import DOC_SPANS, GOLD, LABELS, TEXT, found, initialised, pipe_of, train
from hypothesis import given, strategies as st
from spacy.language import Language

from spacy_padellm.decoding.tag_drafts import tagged_mentions
from spacy_padellm.lm import LanguageModel


def test_tag_drafts_are_the_runs_of_a_label() -> None:
    text, tags = [10, 11, 12, 13, 14, 15], [1, 1, 0, 2, 1, 2]
    assert tagged_mentions(text, tags, ["PER", "LOC", "ORG"]) == {
        "PER": [[10, 11], [14]],
        "LOC": [[13], [15]],
        "ORG": [],
    }


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 3)), max_size=30))
def test_tag_drafts_hold_each_tagged_token_once(pairs: list[tuple[int, int]]) -> None:
    text, tags = [token for token, _ in pairs], [tag for _, tag in pairs]
    drafts = tagged_mentions(text, tags, ["A", "B", "C"])
    for number, label in enumerate("ABC", start=1):
        wanted = [token for token, tag in pairs if tag == number]
        assert [token for draft in drafts[label] for token in draft] == wanted
        assert all(drafts[label])


@pytest.fixture(scope="module")
def tagging() -> Language:
    """A pipeline whose model was overfitted to the gold texts, tags included."""
    torch.manual_seed(0)
    nlp = initialised(
        labels=LABELS,
        prompt={
            "@misc": "spacy-padellm.Prompt.v1",
            "preset": "compact",
            "prefix_lm": True,
        },
        training={"@misc": "spacy-padellm.Training.v1", "tag_loss": 0.3},
        span_getter=DOC_SPANS,
    )
    train(nlp, steps=120)
    return nlp


def passes(
    nlp: Language, monkeypatch: pytest.MonkeyPatch, texts: Iterable[str] = GOLD
) -> int:
    """How many passes texts take, one at a time."""
    count = 0
    read = LanguageModel.read

    def counting(self: LanguageModel, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        return read(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(LanguageModel, "read", counting)
        for text in texts:
            nlp(text)
    return count


def test_tag_drafts_save_passes_and_change_nothing(
    tagging: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = pipe_of(tagging).holder.lm()
    assert lm.tags
    wanted = found(tagging.pipe(GOLD))
    with_tags = passes(tagging, monkeypatch)
    # the counts, then all mentions at once
    assert passes(tagging, monkeypatch, [TEXT]) == 2
    lm.tags = False
    try:
        assert found(tagging.pipe(GOLD)) == wanted
        assert with_tags < passes(tagging, monkeypatch)
        assert passes(tagging, monkeypatch, [TEXT]) == 3
    finally:
        lm.tags = True


def test_tag_drafts_are_saved_with_the_model(tagging: Language, tmp_path: Path) -> None:
    tagging.to_disk(tmp_path / "nlp")
    nlp = spacy.load(tmp_path / "nlp")
    nlp("load")
    assert pipe_of(nlp).holder.lm().tags
