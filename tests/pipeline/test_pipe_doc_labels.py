"""Labels of single Docs, labels changed at run time, and labels with descriptions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from helpers import (
    GOLD,
    LABELS,
    NAME,
    TEXT,
    TOO_LONG,
    adam,
    found,
    gold_doc,
    gold_examples,
    initialised,
    make_nlp,
    pipe_of,
    trained,
)
from hypothesis import given, settings, strategies as st
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from spacy_padellm.decoding.base import DecodeJob
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.mention.calibration import Tuning
from spacy_padellm.pipeline.pipe import PaDeLLMNER
from spacy_padellm.text.gold import group_gold_texts
from spacy_padellm.text.labels import label_names

KEY = "padellm_labels"


def doc_with(nlp: Language, text: str, labels: Any) -> Doc:
    doc = nlp.make_doc(text)
    if labels is not None:
        doc.user_data[KEY] = labels
    return doc


def examples_with(nlp: Language, labels: Sequence[str]) -> list[Example]:
    """The gold examples, annotated with some of the labels only, which they name."""
    examples = []
    for text, mentions in GOLD.items():
        kept = [(string, label) for string, label in mentions if label in labels]
        reference = gold_doc(nlp, text, kept)
        reference.user_data[KEY] = list(labels)
        examples.append(Example(nlp.make_doc(text), reference))
    return examples


def test_component_doc_labels_choose_from_the_models() -> None:
    nlp = trained()
    doc = nlp(doc_with(nlp, TEXT, ["PER"]))
    assert found([doc]) == [[("Anna Smith", "PER"), ("Bob", "PER")]]


def test_component_doc_labels_leave_other_docs_alone() -> None:
    nlp = trained()
    nlp(doc_with(nlp, TEXT, ["PER"]))
    assert {ent.label_ for ent in nlp(TEXT).ents} == {"PER", "LOC"}


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(GOLD)),
            st.sampled_from([None, ("PER",), ("LOC", "ORG"), ()]),
        ),
        max_size=12,
    ),
    st.sampled_from([2, 256]),
)
def test_component_doc_labels_mixed_in_a_stream(
    requests: list[tuple[str, tuple[str, ...] | None]], batch_size: int
) -> None:
    nlp = trained()
    alone = [nlp(doc_with(nlp, *each)) for each in requests]
    docs = (doc_with(nlp, *each) for each in requests)
    streamed = list(nlp.pipe(docs, batch_size=batch_size))
    assert [doc.text for doc in streamed] == [text for text, _ in requests]
    assert found(streamed) == found(alone)


def test_component_doc_labels_empty_list_is_annotated_without_entities() -> None:
    nlp = trained()
    doc = nlp(doc_with(nlp, TEXT, []))
    assert doc.ents == ()
    assert doc.has_annotation("ENT_IOB")


def test_component_doc_labels_unknown_to_the_model_do_not_fail() -> None:
    nlp = trained()
    doc = nlp(doc_with(nlp, TEXT, {"DRUG": "medication", "PER": "person"}))
    assert {ent.label_ for ent in doc.ents} <= {"DRUG", "PER"}


@pytest.mark.parametrize("bad", ["PER", 3, [1], {"PER": 5}, {"PER": {"nam": "x"}}])
def test_component_doc_labels_bad_ones_cost_their_doc_only(bad: Any) -> None:
    nlp = trained()
    failed: list[tuple[str, str]] = []
    nlp.set_error_handler(
        lambda name, pipe, docs, error: failed.append((docs[0].text, str(error)))
    )
    requests = [("Bob met Anna .", None), (TEXT, bad), ("Anna Smith left Acme .", None)]
    docs = list(nlp.pipe([doc_with(nlp, *each) for each in requests]))
    assert [doc.text for doc in docs] == [requests[0][0], requests[2][0]]
    ((text, message),) = failed
    assert text == TEXT
    assert "abel" in message
    assert "Give " in message


def test_component_doc_labels_another_name_than_the_models_is_reported() -> None:
    nlp = trained()
    with pytest.raises(
        ValueError, match="'PER' has the name 'human' in the config or the call"
    ):
        nlp(doc_with(nlp, TEXT, {"PER": "human"}))


@pytest.mark.parametrize("labels", [np.array(["PER"]), ("PER",), {"PER": None}])
def test_component_doc_labels_of_any_kind_are_taken_in_a_stream(labels: Any) -> None:
    nlp = trained()
    docs = list(nlp.pipe([doc_with(nlp, TEXT, labels) for _ in range(2)]))
    assert found(docs) == [[("Anna Smith", "PER"), ("Bob", "PER")]] * 2


def test_component_doc_labels_that_cannot_be_compared_cost_their_doc_only() -> None:
    nlp = trained()
    failed: list[str] = []
    nlp.set_error_handler(lambda name, pipe, docs, error: failed.append(str(error)))
    requests = [
        ["PER"],
        np.array([[1, 2], [3, 4]]),
        np.array([[1, 2], [3, 4]]),
        ["PER"],
    ]
    docs = list(nlp.pipe([doc_with(nlp, TEXT, labels) for labels in requests]))
    assert (len(docs), len(failed)) == (2, 2)


def test_component_doc_labels_that_mean_the_same_are_decoded_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nlp = trained()
    jobs: list[DecodeJob] = []
    stream = TreeDecoder.stream

    def noted(self: TreeDecoder, job: DecodeJob, texts: Any) -> Any:
        jobs.append(job)
        return stream(self, job, texts)

    monkeypatch.setattr(TreeDecoder, "stream", noted)
    requests: list[Any] = [["PER"], ("PER",), {"PER": None}, np.array(["PER"])]
    list(nlp.pipe([doc_with(nlp, TEXT, labels) for labels in requests]))
    assert [job.labels for job in jobs] == [{"PER": LABELS["PER"]}]


# set_labels


def test_component_doc_labels_set_labels_chooses() -> None:
    nlp = trained()
    pipe_of(nlp).set_labels(["LOC"])
    assert found([nlp(TEXT)]) == [[("Paris", "LOC")]]


def test_component_doc_labels_set_labels_knows_the_models_names() -> None:
    pipe = pipe_of(trained())
    pipe.set_labels(["LOC"])
    pipe.set_labels(["PER", "LOC"])
    assert pipe.label_data == {"PER": LABELS["PER"], "LOC": LABELS["LOC"]}


def test_component_doc_labels_set_labels_keeps_names_of_labels_left_out() -> None:
    pipe = pipe_of(initialised(labels=LABELS))
    pipe.set_labels(["PER"])
    pipe.set_labels(["LOC", "PER"])
    assert pipe.label_data == {"LOC": LABELS["LOC"], "PER": LABELS["PER"]}


def test_component_doc_labels_set_labels_refuses_none() -> None:
    with pytest.raises(ValueError, match=r"No labels were given to set_labels of"):
        pipe_of(trained()).set_labels([])


def test_component_doc_labels_set_labels_refuses_another_name() -> None:
    with pytest.raises(ValueError, match="'human'"):
        pipe_of(trained()).set_labels({"PER": "human"})


# Descriptions


def test_component_doc_labels_description_follows_the_name() -> None:
    label = {"name": "medication", "description": "drugs and vaccines"}
    nlp = make_nlp(labels={"MED": label, "PER": "person"})
    assert pipe_of(nlp).label_data == {
        "MED": "medication: drugs and vaccines",
        "PER": "person",
    }


def test_component_doc_labels_description_without_a_name() -> None:
    assert label_names({"MED": {"description": "drugs"}}, {}) == {"MED": "MED: drugs"}


def test_component_doc_labels_description_is_saved(tmp_path: Any) -> None:
    nlp = initialised(labels={**LABELS, "MED": {"name": "m", "description": "d"}})
    nlp.to_disk(tmp_path)
    loaded = make_nlp().from_disk(tmp_path)
    assert pipe_of(loaded).label_data["MED"] == "m: d"


# Training


def test_component_doc_labels_train_on_the_docs_labels() -> None:
    losses = []
    for labels in (LABELS, {"PER": LABELS["PER"]}):
        torch.manual_seed(0)
        nlp = trained(labels=labels)
        losses.append(nlp.update(examples_with(nlp, ["PER"]))[NAME])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_component_doc_labels_cut_the_windows_that_are_trained_on() -> None:
    nlp = trained()
    labels = {"X": {"name": "x", "description": "a person of the story " * 5}}
    doc = doc_with(nlp, TOO_LONG, labels)
    windows = pipe_of(nlp).make_windows([doc, nlp.make_doc(TOO_LONG)])
    counts = Counter(window.doc for window in windows)
    assert counts[0] > counts[1]  # the description takes room
    reference = gold_doc(nlp, TOO_LONG, [("Bob", "X")])
    reference.user_data[KEY] = labels
    example = Example(nlp.make_doc(TOO_LONG), reference)
    golds = pipe_of(nlp)._golds([example], "test", pipe_of(nlp).handle.lm)
    assert [len(texts) for _, texts in golds] == [counts[0]]
    nlp.update([example])


def test_component_doc_labels_train_on_several_sets_at_once() -> None:
    nlp = trained()
    first, second = examples_with(nlp, ["PER"]), examples_with(nlp, ["LOC", "ORG"])
    golds = group_gold_texts(
        [*first, *second, *first],
        lambda labels: pipe_of(nlp).make_windows,
        name=NAME,
        spans_key="padellm",
        resolve_labels=lambda labels: {
            label: LABELS[label] for label, _ in labels or ()
        },
    )
    assert [(list(labels), len(texts)) for labels, texts in golds] == [
        (["LOC", "ORG"], len(second)),
        (["PER"], 2 * len(first)),
    ]


def test_component_doc_labels_train_on_arrays_of_labels() -> None:
    losses = []
    for kind in (list, np.array):
        nlp = trained()
        examples = examples_with(nlp, ["PER"])
        for example in examples:
            example.reference.user_data[KEY] = kind(["PER"])
        losses.append(nlp.update(examples)[NAME])
    assert losses[0] == losses[1]


def test_component_doc_labels_another_name_in_training_can_be_loaded(
    tmp_path: Any,
) -> None:
    nlp = initialised(labels=LABELS)
    examples = gold_examples(nlp)
    for example in examples:
        example.reference.user_data[KEY] = {**LABELS, "PER": "human being"}
    nlp.update(examples, sgd=adam())
    nlp.to_disk(tmp_path)
    assert pipe_of(spacy.load(tmp_path)).label_data == LABELS


def test_component_doc_labels_same_name_twice_is_reported() -> None:
    with pytest.raises(ValueError, match="'PER' and 'HUM' have the same name"):
        pipe_of(trained()).set_labels({"PER": "person", "HUM": "person"})


def test_component_doc_labels_gold_with_another_label_is_reported() -> None:
    nlp = trained()
    reference = gold_doc(nlp, TEXT, GOLD[TEXT])
    reference.user_data[KEY] = ["PER"]
    example = Example(nlp.make_doc(TEXT), reference)
    with pytest.raises(ValueError, match=r"that its Doc sets .*: LOC\..*: PER\."):
        nlp.update([example])


def test_component_doc_labels_initialize_collects_them() -> None:
    nlp = make_nlp()
    examples = [*examples_with(nlp, ["PER", "X"]), *examples_with(nlp, ["LOC", "ORG"])]
    nlp.initialize(lambda: examples)
    assert pipe_of(nlp).labels == ("LOC", "ORG", "PER", "X")


def test_component_doc_labels_between_updates_warn_of_none_to_come(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nlp = make_nlp()
    first, second = examples_with(nlp, ["PER"]), examples_with(nlp, ["LOC", "ORG"])
    nlp.initialize(lambda: [*first, *second])
    nlp.update(first, sgd=adam())
    nlp(TEXT)  # as spaCy evaluates after the first update
    assert not caplog.records
    nlp(doc_with(nlp, TEXT, ["NOPE"]))
    assert "not trained on the labels NOPE" in caplog.text


# Many


def resolved(pipe: PaDeLLMNER, name: str | None, *, count: int) -> None:
    """Note as many labels of single Docs, each with this name or with its own."""
    for number in range(count):
        pipe._task.resolve_labels(((f"NEW{number}", name),))


def test_component_doc_labels_with_names_of_their_own_are_not_kept() -> None:
    pipe = pipe_of(trained())
    alike = pipe._task.alike
    resolved(pipe, None, count=3000)
    assert pipe._task.alike is alike  # it is not made again for each of them
    assert not pipe._task._doc_labels


def test_component_doc_labels_with_a_known_name_share_its_threshold() -> None:
    pipe = pipe_of(trained())
    pipe.set_tuning(Tuning({"PER": 0.6}))
    resolved(pipe, LABELS["PER"], count=3000)
    assert pipe.lowest_score("NEW2999") == 0.6
    assert len(pipe._task._doc_labels) == 1000  # the last ones
