"""Teaching new labels: `new_labels`, and the corpus that keeps the old ones."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import spacy
from helpers import (
    EMPTY,
    GOLD,
    LABELS,
    NAME,
    NESTED,
    TEXT,
    entities,
    gold_doc,
    named,
    pipe_of,
    trained,
    without_settings,
)
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.util import load_config, registry

from spacy_padellm.text.labels import LABELS_KEY

CONFIG = Path(__file__).parents[2] / "configs" / "continue.cfg"
Golds = dict[str, list[tuple[str, str]]]
DRUG = "She takes ibuprofen ."


def write(path: Path, golds: Golds) -> Path:
    nlp = spacy.blank("en")
    DocBin(docs=[gold_doc(nlp, *gold) for gold in golds.items()]).to_disk(path)
    return path


def read(nlp: Language, path: Path, **settings: Any) -> list[Doc]:
    """The gold Docs of the reader."""
    reader = registry.readers.get("spacy-padellm.Corpus.v1")(path, **settings)
    examples: Iterable[Example] = reader(nlp)
    return [example.reference for example in examples]


def test_corpus_labels_that_no_text_has_are_not_annotated(tmp_path: Path) -> None:
    golds = {DRUG: [("ibuprofen", "PER")], EMPTY: []}
    docs = read(trained(), write(tmp_path / "a.spacy", golds))
    assert [doc.user_data.get(LABELS_KEY) for doc in docs] == [["PER"], ["PER"]]


def test_corpus_with_all_labels_is_left_alone(tmp_path: Path) -> None:
    docs = read(trained(), write(tmp_path / "a.spacy", GOLD))
    assert [doc.user_data.get(LABELS_KEY) for doc in docs] == [None] * len(GOLD)


def test_corpus_unknown_labels_are_left_to_the_component(tmp_path: Path) -> None:
    golds = {DRUG: [("ibuprofen", "DRUG")]}
    (doc,) = read(trained(), write(tmp_path / "a.spacy", golds))
    assert LABELS_KEY not in doc.user_data


def test_corpus_own_labels_of_a_doc_stay(tmp_path: Path) -> None:
    doc = gold_doc(spacy.blank("en"), DRUG, [("ibuprofen", "PER")])
    doc.user_data[LABELS_KEY] = ["PER", "LOC"]
    DocBin(docs=[doc], store_user_data=True).to_disk(tmp_path / "a.spacy")
    (found,) = read(trained(), tmp_path / "a.spacy")
    assert list(found.user_data[LABELS_KEY]) == ["PER", "LOC"]


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "spacy", "folder"])
def test_corpus_old_texts_have_the_pipes_mentions(tmp_path: Path, suffix: str) -> None:
    nlp = trained()
    pipe_of(nlp).add_label("DRUG", "drug")
    old = tmp_path / f"old.{suffix}"
    if suffix == "folder":
        old.mkdir()
    file = old / "a.txt" if suffix == "folder" else old
    if suffix == "spacy":
        write(file, {TEXT: []})
    else:
        row = json.dumps({"text": TEXT}) if suffix == "jsonl" else TEXT
        file.write_text(row + "\n", "utf8")
    path = write(tmp_path / "a.spacy", {DRUG: [("ibuprofen", "DRUG")]})
    new, rehearsed = read(nlp, path, old_texts=str(old))  # as in a config
    assert new.user_data[LABELS_KEY] == ["DRUG"]
    assert rehearsed.text == TEXT
    assert entities(rehearsed) == GOLD[TEXT]
    assert LABELS_KEY not in rehearsed.user_data  # so that none of it is a DRUG


@pytest.mark.parametrize(
    ("labels", "mentions"),
    [
        ({"PER": "person"}, [("Anna Smith", "PER"), ("Bob", "PER")]),
        ({"PERSON": "person"}, [("Anna Smith", "PERSON"), ("Bob", "PERSON")]),
        ({"DRUG": "drug"}, []),  # what it finds of an unknown label is a guess
    ],
)
def test_corpus_old_texts_have_mentions_of_the_labels_that_both_know(
    tmp_path: Path, labels: dict[str, str], mentions: list[tuple[str, str]]
) -> None:
    nlp = trained(labels=labels)
    (tmp_path / "old.txt").write_text(TEXT, "utf8")
    path = write(tmp_path / "a.spacy", {})
    (doc,) = read(nlp, path, old_texts=tmp_path / "old.txt")
    assert entities(doc) == mentions
    nlp.update([Example(nlp.make_doc(doc.text), doc)])


def test_corpus_old_texts_of_a_model_that_says_nothing_have_all_labels(
    tmp_path: Path,
) -> None:
    (tmp_path / "model").mkdir()
    nlp = trained(
        model=named(without_settings(tmp_path / "model")),
        labels=LABELS,
        prompt={"@misc": "spacy-padellm.Prompt.v1", "preset": "compact"},
    )
    (tmp_path / "old.txt").write_text(TEXT, "utf8")
    path = write(tmp_path / "a.spacy", {})
    (doc,) = read(nlp, path, old_texts=tmp_path / "old.txt")
    assert entities(doc) == GOLD[TEXT]


def test_corpus_old_texts_are_read_before_an_example_is_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old_texts = tmp_path / "old.txt"
    old_texts.write_text(f"{TEXT}\n", "utf8")
    reader = registry.readers.get("spacy-padellm.Corpus.v1")(
        write(tmp_path / "a.spacy", GOLD), old_texts=old_texts
    )
    next(iter(reader(trained())))
    assert "Old texts: 1, with" in capsys.readouterr().out


def test_corpus_old_texts_of_linked_folders_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "gold.spacy", {})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.jsonl").write_text(json.dumps({"text": NESTED}))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a.txt").write_text(TEXT, "utf8")
    (tmp_path / "old" / "linked").symlink_to(tmp_path / "elsewhere")
    found = read(trained(), path, old_texts=tmp_path / "old")
    assert [doc.text for doc in found] == [TEXT, NESTED]


def test_corpus_without_old_texts_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.spacy", GOLD)
    with pytest.raises(ValueError, match=r"There are no old texts in .*none\.txt"):
        read(trained(), path, old_texts=tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.txt", b"Zo\xeb\n"), ("a.jsonl", b'{"review": "Oslo"}\n'), ("a.spacy", b"x")],
)
def test_corpus_old_texts_that_cannot_be_read_are_named(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = write(tmp_path / "gold.spacy", GOLD)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"Could not read the old texts in .*{name}"):
        read(trained(), path, old_texts=tmp_path / name)


def test_corpus_old_texts_without_their_key_tell_it(tmp_path: Path) -> None:
    path = write(tmp_path / "gold.spacy", GOLD)
    (tmp_path / "old.jsonl").write_text('{"review": "Oslo"}\n', "utf8")
    with pytest.raises(ValueError, match="a line has no key 'text'"):
        read(trained(), path, old_texts=tmp_path / "old.jsonl")


def test_corpus_blank_old_texts_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "gold.spacy", {})
    (tmp_path / "old.txt").write_text(f"\n  \n{TEXT}\n", "utf8")
    (doc,) = read(trained(), path, old_texts=tmp_path / "old.txt")
    assert doc.text == TEXT


def config(tmp_path: Path, golds: Golds, **labels: str) -> Any:
    trained().to_disk(tmp_path / "nlp")
    path = str(write(tmp_path / "gold.spacy", golds))
    new = "initialize.components.padellm_ner.new_labels."
    overrides = {
        "paths.model": str(tmp_path / "nlp" / NAME / "model"),
        "paths.train": path,
        "paths.dev": path,
        **{f"{new}{label}": name for label, name in labels.items()},
    }
    return load_config(CONFIG, overrides=overrides)


def test_corpus_config_takes_new_labels(tmp_path: Path) -> None:
    golds = {DRUG: [("ibuprofen", "DRUG")]}
    nlp = init_nlp(config(tmp_path, golds, DRUG="drug"))
    old = pipe_of(trained()).label_data
    assert pipe_of(nlp).label_data == {**old, "DRUG": "drug"}
    assert pipe_of(nlp).model_labels == tuple(old)


def test_corpus_config_names_all_unknown_labels(tmp_path: Path) -> None:
    golds = {DRUG: [("ibuprofen", "DRUG")], TEXT: [("Paris", "CITY")]}
    with pytest.raises(ValueError, match=r": CITY, DRUG\. Add them to \[init"):
        init_nlp(config(tmp_path, golds))


def test_corpus_update_names_all_unknown_labels() -> None:
    nlp = trained()
    gold = gold_doc(nlp, TEXT, [("Paris", "CITY"), ("Bob", "MAN")])
    with pytest.raises(ValueError, match=r": CITY, MAN\. Add.* call add_label"):
        nlp.update([Example(nlp.make_doc(TEXT), gold)])


@pytest.mark.parametrize("named", [True, False])
def test_corpus_labels_that_are_not_looked_for_later_are_told(
    named: bool, caplog: pytest.LogCaptureFixture
) -> None:
    nlp = trained()
    gold = gold_doc(nlp, DRUG, [("ibuprofen", "DRUG")])
    gold.user_data[LABELS_KEY] = ["DRUG"]
    example = Example(nlp.make_doc(DRUG), gold)
    new_labels = ["DRUG"] if named else None
    pipe_of(nlp).initialize(lambda: [example], new_labels=new_labels)
    messages = [record.message for record in caplog.records]
    assert [m for m in messages if "is not set to find: DRUG" in m] == messages
    assert len(messages) == (not named)
