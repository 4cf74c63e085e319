"""The warning of passages that the tokenizer does not split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from spacy.tokens import Doc

from spacy_padellm.text import unsplit
from spacy_padellm.text.span_getters import make_doc_spans
from spacy_padellm.text.windows import make_windows

CASES = srsly.read_yaml(Path(__file__).parents[1] / "cases" / "texts" / "unsplit.yaml")


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsplit, "warned", set())


@pytest.mark.parametrize("case", [pytest.param(c, id=c["name"]) for c in CASES])
def test_unsplit_passage_is_told_once(
    case: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    nlp = spacy.blank(case["lang"])
    for _ in range(2):
        make_windows([nlp.make_doc(case["text"])], make_doc_spans(), name="ner")
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == ("told" in case)
    if "told" in case:
        expected = f"The passage '{case['told']}' should be several words"
        assert messages[0].startswith(expected)
        assert f"the language '{case['lang']}'" in messages[0]


def test_unsplit_words_of_the_user_are_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = ["习近平", "主席", "在", "北京", "会见", "了", "默克尔", "总理"]
    doc = Doc(spacy.blank("xx").vocab, words, [False] * len(words))
    make_windows([doc], make_doc_spans(), name="ner")
    assert not caplog.records
