"""Pickles, copies, processes and shared weights."""

from __future__ import annotations

import copy
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from helpers import (
    GOLD,
    REFUSING,
    TEXT,
    TOO_LONG,
    entities,
    initialised,
    make_nlp,
    model_folder,
    named,
    pipe_of,
    predictions,
    same_weights,
    swallow,
    train,
    trained,
    weights_of,
)
from spacy.language import Language


def test_component_copies_pickle_predicts_the_same() -> None:
    nlp = trained()
    before = predictions(nlp)
    assert predictions(pickle.loads(pickle.dumps(nlp))) == before


def test_component_copies_pickle_of_a_bundled_model_carries_no_weights() -> None:
    nlp = trained(model={"name": "bundled-en-sm"})
    nlp(TEXT)
    assert len(pickle.dumps(pipe_of(nlp).model)) < 5000


def test_component_copies_pickle_of_a_trained_pipe_carries_its_weights() -> None:
    nlp = trained()
    train(nlp, steps=2)
    second = pickle.loads(pickle.dumps(nlp))
    assert same_weights(weights_of(second), weights_of(nlp))
    assert predictions(second) == predictions(nlp)


def test_component_copies_pickle_of_a_trained_pipe_is_trained_on_as_it() -> None:
    nlp = initialised()
    train(nlp, steps=2)
    pickled = pickle.dumps(nlp)
    second = pickle.loads(pickled)
    before = weights_of(second)
    train(nlp, steps=1)
    train(second, steps=1)  # with AdamW's moments
    assert same_weights(weights_of(second), weights_of(nlp))
    assert not same_weights(weights_of(second), before)


def test_component_copies_pickle_keeps_labels_added() -> None:
    nlp = make_nlp()
    pipe_of(nlp).add_label("PER", "person")
    second = pickle.loads(pickle.dumps(nlp))
    assert pipe_of(second).label_data == {"PER": "person"}


def test_component_copies_deepcopy_predicts_the_same() -> None:
    nlp = trained()
    assert predictions(copy.deepcopy(nlp)) == predictions(nlp)


def test_component_copies_deepcopy_shares_untrained_weights() -> None:
    nlp = trained()
    nlp(TEXT)
    assert lm_of(copy.deepcopy(nlp)) is lm_of(nlp)


def test_component_copies_deepcopy_of_a_trained_pipe_predicts_the_same() -> None:
    nlp = trained()
    train(nlp, steps=2)
    assert predictions(copy.deepcopy(nlp)) == predictions(nlp)


def test_component_copies_deepcopy_is_trained_alone() -> None:
    nlp = trained()
    train(nlp, steps=1)
    before = weights_of(nlp)
    train(copy.deepcopy(nlp), steps=1)
    assert same_weights(weights_of(nlp), before)


def test_component_copies_deepcopy_can_be_trained() -> None:
    nlp = trained()
    train(nlp, steps=1)
    second = copy.deepcopy(nlp)
    train(second, steps=1)
    assert not same_weights(weights_of(second), weights_of(nlp))


def test_component_copies_sourced_pipe_is_the_same() -> None:
    nlp, second = trained(), make_nlp()
    second.add_pipe("padellm_ner", name="sourced", source=nlp)
    assert second.get_pipe("sourced") is nlp.get_pipe("padellm_ner")


# Shared weights


def lm_of(nlp: Language) -> object:
    return pipe_of(nlp).handle.lm()


def test_component_copies_pipes_of_one_model_share_it() -> None:
    first, second = trained(), trained(threshold=0.5)
    assert lm_of(first) is lm_of(second)


def test_component_copies_trained_pipe_does_not_share_its_model() -> None:
    first, second = trained(), trained()
    train(first, steps=1)
    assert lm_of(first) is not lm_of(second)


def test_component_copies_model_is_not_loaded_before_it_is_used() -> None:
    assert pipe_of(trained()).handle._state.lm is None


# Processes


@pytest.mark.timeout(90)
def test_component_copies_two_processes_find_the_same() -> None:
    # only one of several threads exists after a fork
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        nlp = trained()
        before = [entities(nlp(text)) for text in GOLD]
        docs = list(nlp.pipe(GOLD, n_process=2, batch_size=2))
    finally:
        torch.set_num_threads(threads)
    assert [entities(doc) for doc in docs] == before
    assert all(0 < ent._.padellm_score <= 1 for doc in docs for ent in doc.ents)


@pytest.mark.timeout(90)
def test_component_copies_two_processes_lose_only_the_bad_doc() -> None:
    nlp = trained(span_getter=REFUSING)
    nlp.set_error_handler(swallow([]))
    texts = [TEXT, TOO_LONG, *GOLD]
    docs = list(nlp.pipe(texts, n_process=2, batch_size=2))
    assert [doc.text for doc in docs] == [TEXT, *GOLD]


# Threads


def test_component_copies_first_texts_may_come_from_several_threads(
    tmp_path: Path,
) -> None:
    shutil.copytree(model_folder(), tmp_path / "model")
    nlp = trained(model=named(tmp_path / "model"))
    with ThreadPoolExecutor(4) as pool:
        docs = list(pool.map(nlp, GOLD))
    expected = trained()
    assert [entities(doc) for doc in docs] == [
        entities(expected(text)) for text in GOLD
    ]
