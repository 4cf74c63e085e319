"""A pipeline whose model multiplies 8-bit numbers."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import spacy
from helpers import (
    GOLD,
    entities,
    model_folder,
    named,
    pipe_of,
    predictions,
    train,
    trained,
)
from spacy.language import Language

from spacy_padellm.compat.onednn import onednn_has_int8

pytestmark = pytest.mark.skipif(
    not onednn_has_int8(), reason="the processor has no 8-bit products"
)


def make_int8() -> Language:
    return trained(model=named(model_folder(), model={"dtype": "int8"}))


def is_int8(nlp: Language) -> bool:
    return pipe_of(nlp).handle.lm().int8


def scores(nlp: Language) -> list[list[float]]:
    return [[span._.padellm_score for span in nlp(text).ents] for text in GOLD]


def test_component_int8_finds_what_a_sure_model_finds_in_floats() -> None:
    nlp, plain = make_int8(), trained()
    found = [entities(nlp(text)) for text in GOLD]
    assert found == [entities(plain(text)) for text in GOLD]
    assert any(found)
    assert is_int8(nlp)
    assert scores(nlp) != scores(plain)


def test_component_int8_stays_in_saved_and_copied_pipelines(tmp_path: Path) -> None:
    nlp = make_int8()
    expected = scores(nlp)
    nlp.to_disk(tmp_path)
    from_bytes = make_int8().from_bytes(nlp.to_bytes())
    copies = [
        spacy.load(tmp_path),
        from_bytes,
        copy.deepcopy(nlp),
        pickle.loads(pickle.dumps(nlp)),
    ]
    for other in copies:
        assert scores(other) == expected
        assert is_int8(other)


def test_component_int8_saved_weights_are_the_models_own(tmp_path: Path) -> None:
    make_int8().to_disk(tmp_path)
    plain = {"components": {"padellm_ner": {"model": {"dtype": "float32"}}}}
    assert scores(spacy.load(tmp_path, config=plain)) == scores(trained())


def test_component_int8_models_are_trained_in_floats(tmp_path: Path) -> None:
    nlp = make_int8()
    nlp("The model is loaded before .")
    train(nlp, steps=2)
    assert not is_int8(nlp)
    assert predictions(nlp)
    nlp.to_disk(tmp_path)
    assert is_int8(spacy.load(tmp_path))


def test_component_int8_from_bytes_can_be_trained() -> None:
    nlp = make_int8().from_bytes(make_int8().to_bytes())
    assert is_int8(nlp)
    train(nlp, steps=1)
    assert not is_int8(nlp)


def test_component_int8_streams_give_what_single_texts_give() -> None:
    nlp = make_int8()
    texts = [*GOLD, *list(GOLD)[::-1]]
    alone = [entities(nlp(text)) for text in texts]
    assert [entities(doc) for doc in nlp.pipe(texts)] == alone
