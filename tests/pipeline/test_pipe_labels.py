"""Labels: where they come from, and how they are added."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import srsly
from helpers import (
    LABELS,
    NAME,
    TEXT,
    gold_examples,
    make_nlp,
    named,
    pipe_of,
    trained,
)
from spacy.language import Language
from spacy.tokens import Span
from spacy.training import Example

from spacy_padellm.mention.calibration import Promise, Tuning


def initialize(nlp: Language, **settings: Any) -> Language:
    """Initialise with settings as [initialize.components.padellm_ner] gives them."""
    examples = gold_examples(nlp)
    nlp.config["initialize"]["components"][NAME] = settings
    nlp.initialize(lambda: examples)
    return nlp


def test_component_labels_of_the_examples() -> None:
    nlp = initialize(make_nlp())
    assert pipe_of(nlp).label_data == {"LOC": "LOC", "ORG": "ORG", "PER": "PER"}


def test_component_labels_of_the_config() -> None:
    nlp = initialize(make_nlp(labels=LABELS))
    assert pipe_of(nlp).label_data == LABELS


def test_component_labels_argument_with_names() -> None:
    nlp = initialize(make_nlp(), labels=LABELS)
    assert pipe_of(nlp).label_data == LABELS


def test_component_labels_argument_takes_the_models_names() -> None:
    nlp = trained()
    pipe = pipe_of(nlp)
    pipe.initialize(lambda: gold_examples(nlp), labels=["LOC", "ORG", "PER"])
    assert pipe.label_data == LABELS


def test_component_labels_argument_as_a_list() -> None:
    nlp = initialize(make_nlp(), labels=["PER", "ORG", "LOC", "X"])
    assert pipe_of(nlp).labels == ("PER", "ORG", "LOC", "X")


def test_component_labels_argument_replaces_the_configs() -> None:
    nlp = initialize(make_nlp(labels={"OLD": "old"}), labels=LABELS)
    assert pipe_of(nlp).label_data == LABELS


def test_component_labels_of_the_model() -> None:
    assert pipe_of(trained()).label_data == LABELS


def test_component_labels_may_choose_from_the_models() -> None:
    nlp = trained(labels={"PER": "person"})
    assert pipe_of(nlp).labels == ("PER",)


def test_component_labels_of_init_labels_file_come_back(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    srsly.write_json(path, pipe_of(trained()).label_data)
    nlp = make_nlp()
    reader = {"@readers": "spacy.read_labels.v1", "path": str(path)}
    initialize(nlp, labels=reader)
    assert pipe_of(nlp).label_data == LABELS


def test_component_labels_data_is_json() -> None:
    data = pipe_of(trained()).label_data
    assert json.loads(json.dumps(data)) == data


def test_component_labels_data_is_a_copy() -> None:
    pipe = pipe_of(trained())
    pipe.label_data["X"] = "x"
    assert "X" not in pipe.labels


def test_component_labels_are_in_nlp_pipe_labels() -> None:
    assert trained().pipe_labels[NAME] == list(LABELS)


def test_component_labels_bare_initialize_with_configured_ones() -> None:
    nlp = make_nlp(labels=LABELS)
    nlp.initialize()
    assert nlp("x y z").has_annotation("ENT_IOB")


def test_component_labels_bare_initialize_without_any_is_reported() -> None:
    with pytest.raises(ValueError, match=r"'padellm_ner' has no labels. Set them in"):
        make_nlp().initialize()


def test_component_labels_unknown_in_the_examples_are_reported() -> None:
    nlp = make_nlp(labels={"PER": "person"})
    with pytest.raises(
        ValueError, match=r"gold annotation has labels .*: LOC, ORG\..*PER\."
    ):
        initialize(nlp)


def test_component_labels_initialize_iterates_the_corpus_once() -> None:
    nlp = make_nlp()
    count = 0

    def get_examples() -> Iterator[Example]:
        nonlocal count
        for example in gold_examples(nlp):
            count += 1
            yield example

    pipe_of(nlp).initialize(get_examples, nlp=nlp)
    assert count <= len(gold_examples(nlp)) + 1  # the first one is checked


def test_component_labels_initialize_needs_a_function() -> None:
    with pytest.raises(TypeError, match="E930"):
        pipe_of(make_nlp()).initialize([])  # type: ignore[arg-type]


def test_component_labels_initialize_of_a_loaded_model_keeps_its_weights() -> None:
    nlp = initialize(trained())
    assert nlp("Bob met Anna .").ents


def blank_examples(nlp: Language, *, ents: bool, key: str = "") -> list[Example]:
    """Two examples without a mention, or without annotation."""
    docs = [nlp.make_doc("Anna met Bob.") for _ in range(2)]
    for doc in docs:
        if ents:
            doc.set_ents([])
        if key:
            doc.spans[key] = [doc[:1]]
    return [Example(nlp.make_doc(doc.text), doc) for doc in docs]


def test_component_labels_training_without_annotation_is_an_error() -> None:
    nlp = make_nlp(labels=LABELS)
    examples = blank_examples(nlp, ents=False, key="sc")
    with pytest.raises(ValueError, match=r"None of the 2 texts .*spans\['sc'\]: set"):
        nlp.initialize(lambda: examples)


def test_component_labels_training_without_mentions_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nlp = make_nlp(labels=LABELS)
    examples = blank_examples(nlp, ents=True)
    nlp.initialize(lambda: examples)
    assert "None of the 2 annotated texts" in caplog.text
    caplog.clear()
    examples += gold_examples(nlp)
    nlp.initialize(lambda: examples)
    assert "annotated texts" not in caplog.text


def test_component_labels_unannotated_examples_give_none() -> None:
    nlp = make_nlp(labels={"PER": "person"})
    doc = nlp.make_doc("Bob in Paris")
    nlp.initialize(lambda: [Example(doc, doc)])
    assert pipe_of(nlp).labels == ("PER",)


# add_label


def test_component_labels_add_label_is_new_once() -> None:
    pipe = pipe_of(make_nlp())
    assert [pipe.add_label("PER"), pipe.add_label("PER")] == [1, 0]


def test_component_labels_add_label_names_it_after_itself() -> None:
    pipe = pipe_of(make_nlp())
    pipe.add_label("PER")
    assert pipe.label_data == {"PER": "PER"}


def test_component_labels_add_label_takes_a_name() -> None:
    pipe = pipe_of(make_nlp())
    pipe.add_label("PER", "person")
    assert pipe.label_data == {"PER": "person"}


def test_component_labels_add_label_takes_the_models_name() -> None:
    pipe = pipe_of(trained())
    pipe.set_labels(["LOC"])
    assert pipe.add_label("PER") == 1
    assert pipe.label_data == {label: LABELS[label] for label in ("LOC", "PER")}


def test_component_labels_add_label_with_the_name_of_another_is_reported() -> None:
    pipe = pipe_of(trained())
    with pytest.raises(ValueError, match="'PER' and 'HUMAN' have the same name"):
        pipe.add_label("HUMAN", LABELS["PER"])
    assert pipe.labels == tuple(LABELS)


def test_component_labels_of_examples_with_the_name_of_another_label_are_reported() -> (
    None
):
    nlp = make_nlp()
    examples = gold_examples(nlp)[:2]
    for example, label in zip(examples, ["PER", "HUMAN"], strict=True):
        example.reference.user_data["padellm_labels"] = {label: "person"}
    with pytest.raises(ValueError, match="have the same name in the prompt, 'person'"):
        nlp.initialize(lambda: examples)


def test_component_labels_add_label_is_known_to_the_vocabulary() -> None:
    nlp = make_nlp()
    pipe_of(nlp).add_label("VERY_RARE_LABEL")
    assert "VERY_RARE_LABEL" in nlp.vocab.strings


@pytest.mark.parametrize("label", [3, None, b"PER", ""])
def test_component_labels_add_label_of_another_kind_is_reported(label: Any) -> None:
    with pytest.raises(ValueError, match="label must be a non-empty string, but"):
        pipe_of(make_nlp()).add_label(label)


def test_component_labels_add_label_extends_the_models() -> None:
    pipe = pipe_of(trained())
    pipe.add_label("NEW")
    assert pipe.labels == (*LABELS, "NEW")


def contradicted() -> Language:
    nlp = trained(labels={"PER": "person"})
    with pytest.raises(ValueError, match="label 'ORG' has the name 'x'"):
        pipe_of(nlp).add_label("ORG", "x")
    return nlp


def test_component_labels_add_label_that_contradicts_the_model_is_reported() -> None:
    contradicted()


def test_component_labels_add_label_that_failed_leaves_the_labels() -> None:
    assert pipe_of(contradicted()).labels == ("PER",)


def test_component_labels_outlive_a_memory_zone() -> None:
    nlp = make_nlp(labels={"VERY_RARE_LABEL": "rare"})
    with nlp.memory_zone():
        nlp.vocab.strings.add("VERY_RARE_LABEL")
    assert "VERY_RARE_LABEL" in nlp.vocab.strings


def test_component_labels_special_tokens_are_no_names() -> None:
    nlp = trained()
    pipe_of(nlp).set_labels({"A": "a <|count|> b"})
    with pytest.raises(ValueError, match=r"contains '<\|count\|>'.*Choose another"):
        nlp(TEXT)


RENAMED = {"PERSON": "person", "GPE": "location", "COMPANY": "organization"}


def bundled(labels: dict[str, str]) -> Language:
    return make_nlp(model={"name": "bundled-en-sm"}, labels=labels)


def test_component_labels_with_names_of_the_model_keep_its_thresholds() -> None:
    own, renamed = pipe_of(bundled({})), pipe_of(bundled(RENAMED))
    for label, old in zip(RENAMED, ("PER", "LOC", "ORG"), strict=True):
        assert renamed.lowest_score(label) == own.lowest_score(old)
    renamed.set_tuning(Tuning({"LOC": 0.6}))
    assert renamed.lowest_score("GPE") == 0.6
    assert renamed.tuning.thresholds == {"LOC": 0.6}  # as the model's labels are saved


def test_component_labels_take_thresholds_of_others_with_their_names() -> None:
    pipe = pipe_of(bundled(RENAMED))
    pipe.set_tuning(Tuning({"GPE": 0.7, "COMPANY": 0.8}))  # as `tune` sets them
    pipe.set_labels({"PLACE": "location", "COMPANY": "organization"})
    assert pipe.lowest_score("PLACE") == 0.7
    pipe.set_labels(None)
    assert pipe.lowest_score("LOC") == 0.7
    pipe.cfg["threshold"] = {"LOC": 0.1}
    pipe.set_labels(RENAMED)
    assert pipe.lowest_score("COMPANY") == 0.8
    assert pipe.lowest_score("PERSON") == pipe.decoder.default_threshold


def test_component_labels_with_names_of_the_model_replace_its_when_trained(
    tmp_path: Path,
) -> None:
    nlp = bundled(RENAMED)
    doc = nlp.make_doc("Anna met Bob in Rome .")
    doc.set_ents([Span(doc, 0, 1, "PERSON"), Span(doc, 4, 5, "GPE")])
    doc.user_data["padellm_labels"] = ["PERSON", "GPE"]
    nlp.update([Example(nlp.make_doc(doc.text), doc)], sgd=nlp.resume_training())
    nlp.to_disk(tmp_path)
    folder = tmp_path / NAME / "model"
    labels = srsly.read_json(folder / "padellm.json")["labels"]
    names = {"ORG": "organization", "MISC": "miscellaneous"}
    assert labels == {**names, "PERSON": "person", "GPE": "location"}
    pipe = pipe_of(make_nlp(model=named(folder)))
    pipe.set_labels(None)
    assert pipe.label_data == labels


def test_component_labels_with_names_of_the_model_keep_its_promise() -> None:
    pipe = pipe_of(bundled(RENAMED))
    rates = {"LOC": 0.9, "PER": 0.8}
    pipe.set_tuning(Tuning(promise=Promise("recall", rates, 0.9, {"LOC": 0.1})))
    assert pipe.promise is not None
    assert pipe.promise.covers("GPE", 0.1)
    assert not pipe.promise.covers("PERSON", 1.0)
    assert pipe.promise.rate == {**rates, "GPE": 0.9, "PERSON": 0.8}


def test_component_labels_of_a_doc_with_names_of_the_model_keep_its_thresholds() -> (
    None
):
    nlp = bundled({})
    pipe = pipe_of(nlp)
    pipe.set_tuning(Tuning({"PER": 1.0, "LOC": 0.0}))
    doc = nlp.make_doc(TEXT)
    doc.user_data["padellm_labels"] = {"PERSON": "person", "GPE": "location"}
    assert {ent.label_ for ent in nlp(doc).ents} == {"GPE"}


def test_component_labels_with_names_of_the_model_are_not_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nlp = bundled(RENAMED)
    assert nlp(TEXT).ents
    assert not caplog.records
    pipe_of(nlp).set_labels({**RENAMED, "DRUG": "drug"})
    (record,) = caplog.records
    assert "trained on the labels DRUG, but" in record.getMessage()
