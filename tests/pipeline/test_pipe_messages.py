"""Settings in tests/cases/messages: what is said about them, and when."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from helpers import (
    GOLD,
    LABELS,
    NAME,
    TEXT,
    entities,
    gold_examples,
    initialised,
    make_nlp,
    named,
    pipe_of,
    train,
    trained,
    without_settings,
)

from spacy_padellm.training.thinc_model import _warn_of_revision

FOLDER = Path(__file__).parents[1] / "cases" / "messages"
CASES = [
    pytest.param(case, id=f"{path.stem}-{case['name']}")
    for path in sorted(FOLDER.glob("*.yaml"))
    for case in srsly.read_yaml(path)
]
ERRORS = [case for case in CASES if "error" in case.values[0]]
TYPOS = [case for case in CASES if "warnings" in case.values[0]]
MODEL = {"name": "bundled-en-sm", "dtype": "float32", "device": "cpu"}


def add(case: dict[str, Any]) -> spacy.Language:
    config = {"model": {}, **case.get("config", {})}
    if isinstance(config["model"], dict) and "@architectures" not in config["model"]:
        config["model"] = {**MODEL, **config["model"]}
    nlp = spacy.blank(case.get("lang", "en"))
    nlp.add_pipe(NAME, config=config)
    return nlp


def use(nlp: spacy.Language, case: dict[str, Any]) -> None:
    pipe_of(nlp).cfg.update(case.get("cfg", {}))
    for text in (TEXT, "Bob left ."):
        doc = nlp.make_doc(text)
        if "doc_labels" in case:
            doc.user_data["padellm_labels"] = case["doc_labels"]
        nlp(doc)


@pytest.mark.parametrize("case", ERRORS)
def test_component_messages_of_errors(case: dict[str, Any]) -> None:
    if case.get("when") == "use":
        nlp = add(case)
        with pytest.raises(ValueError, match=case["error"]):
            use(nlp, case)
    else:
        with pytest.raises(ValueError, match=case["error"]) as raised:
            add(case)
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize("case", TYPOS)
def test_component_messages_of_typos(
    case: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    _warn_of_revision.cache_clear()
    nlp = add(case)
    if "labels" in case:
        pipe_of(nlp).set_labels(case["labels"])
        pipe_of(nlp).set_labels(case["labels"])
    use(nlp, case)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(case["warnings"]), messages
    for expected, message in zip(case["warnings"], messages, strict=True):
        assert re.search(expected, message)


def test_component_messages_of_a_model_without_settings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = {"@misc": "spacy-padellm.Prompt.v1", "preset": "compact"}
    model = named(without_settings(tmp_path))
    nlp = make_nlp(model=model, labels=LABELS, prompt=prompt)
    nlp(TEXT)
    nlp(TEXT)
    (record,) = caplog.records
    assert "does not say what it was trained for" in record.getMessage()


def test_component_messages_while_a_new_model_is_trained(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nlp = initialised(labels=LABELS)
    train(nlp, steps=1)
    nlp(TEXT)
    assert not caplog.records


def test_component_messages_before_training_in_another_language(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nlp = add({"lang": "de"})
    nlp.initialize(lambda: gold_examples(nlp))
    (record,) = caplog.records
    assert "language 'en', but the pipeline is for 'de'" in record.getMessage()
    nlp(TEXT)
    assert caplog.records == [record]


def test_component_messages_while_a_new_label_is_taught(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nlp = trained()
    pipe_of(nlp).add_label("DAY", "day")
    train(nlp, steps=1)
    nlp(TEXT)
    assert not caplog.records


def test_component_messages_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    nlp = trained()
    for number in range(40):
        pipe_of(nlp).set_labels([f"X{number}"])
    assert len(caplog.records) == 20


def test_component_messages_all_labels_of_the_model_come_back() -> None:
    nlp = trained()
    pipe_of(nlp).set_labels(["PER"])
    pipe_of(nlp).set_labels(None)
    assert pipe_of(nlp).label_data == LABELS
    assert entities(nlp(TEXT)) == GOLD[TEXT]


def test_component_messages_all_labels_of_a_new_model_come_back() -> None:
    nlp = initialised(labels=LABELS)
    pipe_of(nlp).set_labels(["PER"])
    pipe_of(nlp).set_labels(None)
    assert pipe_of(nlp).label_data == LABELS


def test_component_messages_without_labels_none_come_back() -> None:
    with pytest.raises(ValueError, match="has no labels"):
        pipe_of(make_nlp()).set_labels(None)
