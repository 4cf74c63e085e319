"""Thresholds by label: learning, `padellm tune`, and their use in the component."""

from __future__ import annotations

import errno
import json
import math
import os
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import spacy
from helpers import (
    DOC_SPANS,
    GOLD,
    LABELS,
    TEXT,
    entities,
    gold_doc,
    named,
    pipe_of,
    train,
    trained,
)
from hypothesis import given, strategies as st
from spacy.tokens import DocBin
from typer.testing import CliRunner

from spacy_padellm.analysis.inputs import GoldCorpus, GoldDoc
from spacy_padellm.analysis.kinds import GoldMention
from spacy_padellm.analysis.tune.candidates import find_candidates
from spacy_padellm.analysis.tune.thresholds import (
    CandidateCorpus,
    Candidates,
    cross_fit,
    learn_thresholds,
    tune,
)
from spacy_padellm.cli.app import padellm_cli
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.tree.decoder import DEFAULT_THRESHOLD
from spacy_padellm.lm.task.config import read_settings
from spacy_padellm.mention.calibration import Calibration, Tuning
from spacy_padellm.mention.mention import ScoredSpan
from spacy_padellm.pipeline.pipe import PaDeLLMNER


def span(start: int, label: str, score: float) -> ScoredSpan:
    return ScoredSpan(start, start + 2, label, score, "exact")


def text(*found: ScoredSpan, right: int) -> Candidates:
    """Make candidates, the first of which are correct."""
    gold = frozenset(GoldMention(s.start, s.end, s.label) for s in found[:right])
    return Candidates(gold, found)


def unseen_f(corpus: CandidateCorpus) -> float:
    """The span F1 of the halves of a corpus, each tuned on the other one."""
    [unseen] = cross_fit([corpus], ["A", "B"], default_threshold=DEFAULT_THRESHOLD)
    assert unseen is not None
    return unseen.span_f


def test_thresholds_drop_mentions_that_are_mostly_wrong() -> None:
    texts = [text(span(0, "A", 0.9), span(5, "A", 0.32), right=1)] * 4
    learnt = learn_thresholds([CandidateCorpus(texts, nested=False)], ["A", "B"])
    assert learnt == {"A": 0.35, "B": DEFAULT_THRESHOLD}


def test_thresholds_do_not_apply_to_other_labels() -> None:
    texts = [text(span(0, "A", 0.1), span(5, "B", 0.1), right=1)] * 4
    learnt = learn_thresholds([CandidateCorpus(texts, nested=False)], ["A", "B"])
    assert (learnt["A"], learnt["B"]) == (0.1, DEFAULT_THRESHOLD)


def test_thresholds_stay_near_the_default_on_data_without_errors() -> None:
    texts = [text(span(0, "A", 0.9), span(5, "B", 0.2), right=2)] * 4
    learnt = learn_thresholds([CandidateCorpus(texts, nested=False)], ["A", "B"])
    assert learnt == {"A": DEFAULT_THRESHOLD, "B": 0.2}


def test_thresholds_overlapping_mentions_count_where_gold_has_them() -> None:
    both = text(ScoredSpan(0, 9, "A", 0.9, "exact"), span(0, "A", 0.5), right=2)
    assert CandidateCorpus([both], nested=True).f_score({}) == 1
    assert CandidateCorpus([both], nested=False).f_score({}) == pytest.approx(2 / 3)


def test_thresholds_are_scored_with_the_memory_of_a_document() -> None:
    sure, unsure = span(0, "A", 0.9), span(3, "A", 0.2)
    gold = text(sure, unsure, right=2).gold
    scores = {}
    for words in ("ab ab", "ab cd", None):
        corpus = CandidateCorpus(
            [Candidates(gold, [sure, unsure], words)], nested=False
        )
        scores[words] = corpus.rescored(Calibration()).f_score({"A": 0.5})
    alone = pytest.approx(2 / 3)
    assert scores == {"ab ab": 1, "ab cd": alone, None: alone}


def test_thresholds_cross_fit_scores_halves_by_each_others_thresholds() -> None:
    # the best threshold of each half is bad for the other half
    even, odd = text(span(0, "A", 0.3), right=1), text(span(0, "A", 0.5), right=0)
    sure = text(span(0, "A", 0.9), right=1)
    corpus = CandidateCorpus([even, odd, sure, sure], nested=False)
    assert unseen_f(corpus) == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_thresholds_cross_fit_has_the_default_for_labels_without_gold() -> None:
    # the other half has no gold mention of B
    unlikely = span(9, "B", DEFAULT_THRESHOLD / 9)
    rare = text(span(0, "A", 0.9), span(5, "B", 0.9), unlikely, right=2)
    sure = text(span(0, "A", 0.9), right=1)
    assert unseen_f(CandidateCorpus([rare, sure] * 2, nested=False)) == 1


def test_thresholds_cross_fit_counts_the_mentions_of_both_halves() -> None:
    sure, empty = text(span(0, "A", 0.9), right=1), text(right=0)
    assert unseen_f(CandidateCorpus([sure, empty] * 2, nested=False)) == 1


def test_thresholds_cross_fit_of_a_single_text_has_no_scores() -> None:
    corpus = CandidateCorpus([text(span(0, "A", 0.9), right=1)], nested=False)
    assert cross_fit([corpus], ["A"], default_threshold=DEFAULT_THRESHOLD) == [None]


def test_thresholds_are_learnt_of_annotated_labels_only() -> None:
    corpus = CandidateCorpus([text(span(0, "A", 0.5), right=1)], nested=False)
    assert tune([corpus], ["A", "B"]).thresholds.keys() == {"A"}


@given(
    st.lists(
        st.tuples(
            st.lists(
                st.tuples(st.integers(0, 8), st.sampled_from("AB"), st.floats(0, 1)),
                max_size=5,
            ),
            st.integers(0, 5),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_thresholds_never_lower_the_score_of_their_training_texts(
    drawn: list[tuple[list[tuple[int, str, float]], int]],
) -> None:
    texts = [text(*(span(*s) for s in spans), right=right) for spans, right in drawn]
    corpus = CandidateCorpus(texts, nested=False)
    assert corpus.f_score(learn_thresholds([corpus], "AB")) >= corpus.f_score({})


# The component


def model_with(tmp_path: Path, thresholds: dict[str, float]) -> Path:
    """Save the trained model with thresholds."""
    nlp = trained(threshold=thresholds)
    nlp.to_disk(tmp_path / "nlp")
    return tmp_path / "nlp" / "padellm_ner" / "model"


def test_thresholds_of_the_config_by_label() -> None:
    doc = trained(threshold={"PER": 1.0})(TEXT)
    labels = {label for _, label in GOLD[TEXT]}
    assert {ent.label_ for ent in doc.ents} == labels - {"PER"}


def test_thresholds_default_to_the_decoders() -> None:
    pipe = pipe_of(trained())
    assert pipe.lowest_score("PER") == DEFAULT_THRESHOLD > 0
    pipe.set_tuning(Tuning({"PER": 0.6, "LOC": 0.7}))
    pipe.cfg["threshold"] = {"LOC": 0.5}
    assert pipe.threshold == {"PER": 0.6, "LOC": 0.5}
    pipe.set_tuning(Tuning())
    pipe.cfg["threshold"] = {"LOC": 0.5}
    assert pipe.lowest_score("LOC") == 0.5
    assert pipe.lowest_score("PER") == DEFAULT_THRESHOLD
    # the paper's decoding has no thresholds
    plain = {"min_count_probability": None, "tag_weight": 0.0}
    pipe.decoder = replace(pipe.decoder, **plain)
    assert pipe.lowest_score("PER") == 0
    pipe.decoder = BatchDecoder()
    assert pipe.lowest_score("PER") == 0


def test_thresholds_missing_in_the_config_are_the_models(tmp_path: Path) -> None:
    folder = model_with(tmp_path, {"PER": 0.9, "LOC": 0.8})
    nlp = trained(model=named(folder), threshold={"PER": 0.5})
    nlp.to_disk(tmp_path / "other")
    expected = {"PER": 0.5, "LOC": 0.8, "ORG": DEFAULT_THRESHOLD}
    for pipe in (pipe_of(nlp), pipe_of(spacy.load(tmp_path / "other"))):
        assert {label: pipe.lowest_score(label) for label in expected} == expected


def test_thresholds_are_saved_with_the_model(tmp_path: Path) -> None:
    settings = read_settings(model_with(tmp_path, {"PER": 0.5}))
    assert settings is not None
    assert settings.tuning.thresholds == {"PER": 0.5}


def test_thresholds_of_the_model_apply_without_thresholds_in_the_config(
    tmp_path: Path,
) -> None:
    folder = model_with(tmp_path, {"PER": 1.0})
    doc = trained(model=named(folder))(TEXT)
    assert "PER" not in {ent.label_ for ent in doc.ents}
    doc = trained(model=named(folder), threshold=0.0)(TEXT)
    assert "PER" in {ent.label_ for ent in doc.ents}


def test_thresholds_of_the_model_are_dropped_by_training(tmp_path: Path) -> None:
    nlp = trained(model=named(model_with(tmp_path, {"PER": 1.0})))
    # a small step: the model still finds what it found
    train(nlp, steps=1, rate=1e-4)
    assert "PER" in {ent.label_ for ent in nlp(TEXT).ents}
    pipe_of(nlp).add_label("NEW")
    assert "PER" in {ent.label_ for ent in nlp(TEXT).ents}


def test_thresholds_are_kept_when_labels_are_set() -> None:
    pipe = pipe_of(trained())
    pipe.set_tuning(Tuning({"PER": 1.0}))
    pipe.set_labels(["PER", "LOC"])
    assert pipe.threshold == {"PER": 1.0}
    assert "PER" not in {ent.label_ for ent in pipe(trained().make_doc(TEXT)).ents}


def test_thresholds_calibration_is_applied_to_scores_first(tmp_path: Path) -> None:
    nlp = trained()
    before = {e.text: e._.padellm_score for e in nlp(TEXT).ents}
    lowered = Calibration(offset=-math.log(1000))  # a thousandth of the odds
    thresholds = {**dict.fromkeys(pipe_of(nlp).labels, 0.0), "PER": 0.9}
    pipe_of(nlp).set_tuning(Tuning(thresholds, lowered))
    nlp.to_disk(tmp_path / "nlp")
    for pipeline in (nlp, spacy.load(tmp_path / "nlp")):
        found = pipeline(TEXT).ents
        assert found
        assert "PER" not in {e.label_ for e in found}
        for e in found:
            assert e._.padellm_score == pytest.approx(lowered(before[e.text]))
    train(nlp, steps=1)
    assert pipe_of(nlp).calibration == Calibration()


def test_thresholds_survive_bytes(tmp_path: Path) -> None:
    nlp = trained(model=named(model_with(tmp_path, {"PER": 1.0})))
    other = trained().from_bytes(nlp.to_bytes())
    assert "PER" not in {ent.label_ for ent in other(TEXT).ents}


# The command


def test_thresholds_tune_replaces_those_of_a_pipeline(tmp_path: Path) -> None:
    nlp = trained(span_getter=DOC_SPANS, labels=LABELS, threshold={"PER": 1.0})
    nlp.to_disk(tmp_path / "nlp")
    golds = {
        string: [(m, "person" if label == "PER" else label) for m, label in mentions]
        for string, mentions in GOLD.items()
    }
    docs = [gold_doc(nlp, string, mentions) for string, mentions in golds.items()]
    DocBin(docs=docs).to_disk(tmp_path / "gold.spacy")
    command = ["tune", tmp_path / "nlp", tmp_path / "gold.spacy"]
    command += ["--rename", "person=PER", "--output", tmp_path / "tuned"]
    command += ["--json", tmp_path / "out.json"]
    result = CliRunner().invoke(padellm_cli, [str(part) for part in command])
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "out.json").read_text("utf8"))
    [scores] = figures["span_f"].values()
    assert scores.pop("before") < 1  # PER had a threshold that it never reached
    assert scores == {"with": 1, "unseen": 1}
    [errors] = figures["calibration_error"].values()
    assert 0 <= errors["with"] < 0.2
    tuned = spacy.load(tmp_path / "tuned")
    assert pipe_of(tuned).threshold == figures["thresholds"]
    assert asdict(pipe_of(tuned).calibration) == figures["calibration"]
    assert entities(tuned(TEXT)) == GOLD[TEXT]
    train(tuned, steps=1)
    assert not pipe_of(tuned).threshold


def test_thresholds_tune_leaves_out_labels_that_a_text_does_not_annotate() -> None:
    nlp = trained()
    gold = GoldDoc(TEXT, [GoldMention(0, 10, "PER")], frozenset(["PER"]))
    other = GoldDoc(TEXT, [GoldMention(22, 27, "LOC")], frozenset(["LOC"]))
    corpus = find_candidates(nlp, pipe_of(nlp), GoldCorpus([gold, other]))
    found = [{span.label for span in text.found} for text in corpus.texts]
    assert found == [{"PER"}, {"LOC"}]


def test_thresholds_candidates_leave_the_tuning_as_it_was() -> None:
    nlp = trained()
    pipe = pipe_of(nlp)
    tuning = Tuning({"PER": 0.75})
    pipe.set_tuning(tuning)
    pipe.cfg["threshold"] = {"LOC": 0.5}
    find_candidates(nlp, pipe, GoldCorpus([GoldDoc(TEXT, [])]))
    assert pipe.cfg["threshold"] == {"LOC": 0.5}
    assert pipe.tuning == tuning


@pytest.mark.parametrize("on", [True, False])
def test_thresholds_tune_remembers_as_the_pipe_does(on: bool) -> None:
    nlp = trained(document_memory=on)
    repeated = "Bob met Bob in Paris ."
    gold = [GoldMention(0, 3, "PER")]
    golds = GoldCorpus([GoldDoc(string, gold) for string in (repeated, TEXT)])
    corpus = find_candidates(nlp, pipe_of(nlp), golds)
    assert len(corpus.texts[0].found) == 2
    assert [text.text for text in corpus.texts] == [repeated if on else None, None]


@pytest.mark.parametrize("label", ["HUMAN", None])
def test_thresholds_tune_on_gold_without_known_labels_is_an_error(
    label: str | None, tmp_path: Path
) -> None:
    nlp = trained()
    nlp.to_disk(tmp_path / "nlp")
    gold = gold_doc(nlp, TEXT, [("Bob", label)] if label else [])
    DocBin(docs=[gold]).to_disk(tmp_path / "gold.spacy")
    command = ["tune", tmp_path / "nlp", tmp_path / "gold.spacy"]
    command += ["-o", tmp_path / "out"]
    result = CliRunner().invoke(padellm_cli, [str(part) for part in command])
    assert result.exit_code == 1
    output = " ".join(result.output.split())
    assert "has a label of the pipeline: LOC, ORG, PER. If the corpus" in output
    assert ("HUMAN (1)" in output) == bool(label)
    assert not (tmp_path / "out" / "meta.json").exists()


def tune_to(output: Path, *options: str, folder: Path) -> tuple[int, str]:
    """Tune the pipeline of a folder."""
    nlp = trained()
    if not (folder / "nlp").exists():
        nlp.to_disk(folder / "nlp")
    gold = gold_doc(nlp, TEXT, GOLD[TEXT])
    DocBin(docs=[gold]).to_disk(folder / "gold.spacy")
    command = ["tune", folder / "nlp", folder / "gold.spacy", "-o", output, *options]
    result = CliRunner().invoke(padellm_cli, [str(part) for part in command])
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize("same", [True, False])
def test_thresholds_tune_keeps_a_pipeline(tmp_path: Path, same: bool) -> None:
    output = tmp_path / ("nlp" if same else "other")
    trained().to_disk(output)
    before = (output / "padellm_ner" / "cfg").read_bytes()
    code, words = tune_to(output, folder=tmp_path)
    assert code == 1
    assert "replace that one with --force" in words
    assert (output / "padellm_ner" / "cfg").read_bytes() == before


def test_thresholds_tune_replaces_its_input_if_told(tmp_path: Path) -> None:
    code, words = tune_to(tmp_path / "new", folder=tmp_path)
    assert code == 0, words
    code, words = tune_to(tmp_path / "nlp", "--force", folder=tmp_path)
    assert code == 0, words
    tuned = pipe_of(spacy.load(tmp_path / "nlp"))
    assert tuned.threshold == pipe_of(spacy.load(tmp_path / "new")).threshold != {}


def test_thresholds_tune_on_a_full_disk_leaves_the_old_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, words = tune_to(tmp_path / "new", folder=tmp_path)
    assert code == 0, words
    meta = json.loads((tmp_path / "new" / "meta.json").read_text("utf8"))
    old = json.dumps({**meta, "description": "an old one"})
    (tmp_path / "new" / "meta.json").write_text(old, "utf8")

    def fail(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PaDeLLMNER, "to_disk", fail)
    code, words = tune_to(tmp_path / "new", "--force", folder=tmp_path)
    assert code == 1
    assert "No space left on device" in words
    assert (tmp_path / "new" / "meta.json").read_text("utf8") == old
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "gold.spacy",
        "new",
        "nlp",
    ]


def test_thresholds_tune_keeps_other_files_of_the_folder(tmp_path: Path) -> None:
    nlp = trained()
    nlp.add_pipe("doc_cleaner")  # writes no files
    nlp.to_disk(tmp_path / "nlp")
    nlp.remove_pipe("doc_cleaner")
    nlp.to_disk(tmp_path / "new")
    (tmp_path / "new" / "scores.json").write_text("{}", "utf8")
    code, words = tune_to(tmp_path / "new", "--force", folder=tmp_path)
    assert code == 0, words
    assert (tmp_path / "new" / "scores.json").read_text("utf8") == "{}"
    assert pipe_of(spacy.load(tmp_path / "new")).threshold != {}


def test_thresholds_tune_writes_to_a_folder_that_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: path == tmp_path / "new")
    number = None
    for _ in range(2):
        code, words = tune_to(tmp_path / "new", "--force", folder=tmp_path)
        assert code == 0, words
        number = number or (tmp_path / "new").stat().st_ino
    assert (tmp_path / "new").stat().st_ino == number
    assert pipe_of(spacy.load(tmp_path / "new")).threshold != {}


def test_thresholds_tune_on_a_single_text_prints_no_score_of_another(
    tmp_path: Path,
) -> None:
    code, words = tune_to(tmp_path / "new", folder=tmp_path)
    assert code == 0, words
    assert re.search(r"gold\.spacy [\d.]+ [\d.]+ - ", words)


def test_thresholds_tune_never_writes_among_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    code, words = tune_to(tmp_path, "--force", folder=tmp_path)
    assert code == 1
    assert "holds other files" in words


def test_thresholds_tune_without_a_corpus_is_an_error(tmp_path: Path) -> None:
    trained().to_disk(tmp_path / "nlp")
    command = ["tune", tmp_path / "nlp", tmp_path / "no.spacy", "-o", tmp_path / "out"]
    result = CliRunner().invoke(padellm_cli, [str(part) for part in command])
    assert result.exit_code == 1
    assert "There is no file" in result.output
    assert not (tmp_path / "out" / "meta.json").exists()
