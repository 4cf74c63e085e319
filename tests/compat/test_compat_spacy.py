"""The undocumented behaviour of spaCy that `compat.spacy` relies on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.cli.train import train as spacy_train
from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.compat.spacy import (
    doc_context,
    is_made_from_config,
    is_under_spacy_train,
)


def test_compat_spacy_train_is_known_by_its_function() -> None:
    found = []

    def note(*_: Any, **__: Any) -> None:
        found.append(is_under_spacy_train())
        raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["spacy.cli.train"], "setup_gpu", note)
        with pytest.raises(InterruptedError):
            spacy_train(Path(__file__))  # a file that is there
    assert found == [True]
    assert not is_under_spacy_train()


def test_compat_doc_context_is_known_to_error_handlers() -> None:
    nlp = spacy.blank("en")
    contexts = []

    @spacy.Language.component("padellm_test_fails")
    def fail(doc: Any) -> Any:
        raise ValueError("failed")

    def note(name: str, pipe: Any, docs: Any, error: Exception) -> None:
        contexts.extend(doc_context(doc) for doc in docs)

    nlp.add_pipe("padellm_test_fails")
    nlp.set_error_handler(note)  # type: ignore[arg-type]  # it may return
    assert list(nlp.pipe([("a", 7), ("b", 8)], as_tuples=True)) == []
    assert contexts == [7, 8]


@Language.factory("padellm_test_made_from_config")
class NotesHowItIsMade:
    """Notes whether it is made from a config."""

    def __init__(self, nlp: Language, name: str) -> None:
        self.from_config = is_made_from_config()

    def __call__(self, doc: Doc) -> Doc:
        return doc


def test_compat_pipelines_made_from_a_config_are_known() -> None:
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("padellm_test_made_from_config")
    assert isinstance(pipe, NotesHowItIsMade)
    other = type(nlp).from_config(nlp.config).get_pipe("padellm_test_made_from_config")
    assert [pipe.from_config, other.from_config] == [False, True]
