"""Scores of a pipe on a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import GOLD, TEXT, gold_doc, pipe_of, trained
from spacy.language import Language
from spacy.tokens import Doc, DocBin

from spacy_padellm.analysis.evaluate import score
from spacy_padellm.analysis.evaluate.score import score_corpus


class Clock:
    """Time that passes where a test says so."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_evaluate_score_speed_is_that_of_annotation_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, nlp = Clock(), trained()
    monkeypatch.setattr(score, "time", clock)
    read, scores = score._read, pipe_of(nlp).score

    @Language.component("takes_two_seconds")
    def takes_two_seconds(doc: Doc) -> Doc:
        clock.now += 2
        return doc

    def read_slowly(*arguments: Any) -> Any:
        clock.now += 100
        return read(*arguments)

    def score_slowly(examples: Any) -> dict[str, Any]:
        clock.now += 100
        return scores(examples)

    nlp.add_pipe("takes_two_seconds")
    monkeypatch.setattr(score, "_read", read_slowly)
    monkeypatch.setattr(pipe_of(nlp), "score", score_slowly)
    DocBin(docs=[gold_doc(nlp, TEXT, GOLD[TEXT])]).to_disk(tmp_path / "gold.spacy")
    found = score_corpus(nlp, pipe_of(nlp), tmp_path / "gold.spacy")
    assert found["ents_f"] == 1
    assert found["speed"] == len(TEXT.split()) / 2


@pytest.mark.parametrize("own", [True, False])
def test_evaluate_score_tells_only_of_mentions_that_are_scored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, own: bool
) -> None:
    nlp = trained()
    gold = gold_doc(nlp, TEXT, [x for x in GOLD[TEXT] if x[1] == "PER"])
    if own:
        gold.user_data["padellm_labels"] = ["PER"]
    DocBin(docs=[gold], store_user_data=True).to_disk(tmp_path / "gold.spacy")
    with caplog.at_level("WARNING", logger="spacy_padellm"):
        scores = score_corpus(nlp, pipe_of(nlp), tmp_path / "gold.spacy")
    assert (scores["ents_p"] == 1) == own
    assert ("each counts as wrong" in caplog.text) != own
