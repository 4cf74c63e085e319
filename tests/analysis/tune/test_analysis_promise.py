"""Tests of promises: thresholds, their command, and what it writes."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import spacy
from helpers import GOLD, TEXT, gold_doc, pipe_of, train, trained
from spacy.tokens import DocBin
from typer.testing import CliRunner

from spacy_padellm.analysis.kinds import GoldMention
from spacy_padellm.analysis.options import AnalysisError, PromiseRequest, parse_promise
from spacy_padellm.analysis.tune.promise import PromiseTest, check_promise
from spacy_padellm.analysis.tune.promise_report import add_promise
from spacy_padellm.analysis.tune.thresholds import CandidateCorpus, Candidates
from spacy_padellm.cli.app import padellm_cli
from spacy_padellm.mention.calibration import Promise, Tuning
from spacy_padellm.mention.mention import ScoredSpan


def draw(docs: int, *, seed: int = 0, label: str = "A") -> CandidateCorpus:
    """Docs whose scores are the probability that the mention is right."""
    rng = random.Random(seed)
    texts = []
    for _ in range(docs):
        hard = rng.random() < 0.3  # mentions of a Doc are alike
        gold, found = set(), []
        for number in range(rng.randint(0, 4)):
            score = rng.random() ** (2.0 if hard else 0.3)
            start = 10 * number
            found.append(ScoredSpan(start, start + 5, label, score, "exact"))
            if rng.random() < score:
                gold.add(GoldMention(start, start + 5, label))
        if rng.random() < 0.05:
            gold.add(GoldMention(90, 95, label))  # never found
        texts.append(Candidates(frozenset(gold), found))
    return CandidateCorpus(texts, nested=False)


def draw_found(docs: int, *, right: bool, score: float = 0.5) -> list[Candidates]:
    """Docs with one mention of a given score."""
    span, gold = ScoredSpan(0, 5, "A", score, "exact"), GoldMention(0, 5, "A")
    return [Candidates(frozenset({gold} if right else ()), [span])] * docs


def rate_of(corpus: CandidateCorpus, measure: str, threshold: float) -> float:
    right = found = gold = 0
    for text in corpus.texts:
        kept = [s for s in text.found if s.score >= threshold]
        right += sum(GoldMention(s.start, s.end, s.label) in text.gold for s in kept)
        found += len(kept)
        gold += len(text.gold)
    return right / (gold if measure == "recall" else found)


def check(
    corpora: Sequence[CandidateCorpus], measure: str, rate: float, **settings: float
) -> PromiseTest:
    [result] = check_promise(corpora, measure, rate, labels=["A"], **settings)
    return result


@pytest.mark.parametrize(("measure", "rate"), [("recall", 0.9), ("precision", 0.8)])
def test_promise_is_kept_by_new_docs(measure: str, rate: float) -> None:
    kept = []
    for seed in range(60):
        result = check([draw(400, seed=seed)], measure, rate)
        assert result.threshold is not None
        new = draw(400, seed=1000 + seed)
        kept.append(rate_of(new, measure, result.threshold) >= rate)
    assert sum(kept) >= 51  # 54 on average, and 51 or more in 95 % of such tests


@pytest.mark.parametrize(("measure", "rate"), [("recall", 0.9), ("precision", 0.8)])
def test_promise_costs_no_more_than_it_must(measure: str, rate: float) -> None:
    result = check([draw(20_000)], measure, rate)
    assert result.threshold is not None
    assert 0 < rate_of(draw(20_000), measure, result.threshold) - rate < 0.02
    [rates] = result.rates
    measured = rate_of(draw(20_000), measure, result.threshold)
    assert getattr(rates, measure) == pytest.approx(measured)


def test_promise_of_more_docs_has_the_better_threshold() -> None:
    thresholds = [check([draw(n)], "recall", 0.85).threshold for n in (200, 20_000)]
    few, many = thresholds
    assert few is not None
    assert many is not None
    assert few < many


def test_promise_holds_for_each_corpus() -> None:
    easy, hard = draw(3000), draw(3000)
    for text in hard.texts[::8]:
        hard.texts[hard.texts.index(text)] = Candidates(text.gold, [])
    alone, both = check([hard], "recall", 0.8), check([easy, hard], "recall", 0.8)
    assert both.threshold == alone.threshold
    assert both.threshold < check([easy], "recall", 0.8).threshold


def test_promise_ignores_a_corpus_that_does_not_annotate_the_label() -> None:
    other = draw(100, label="B")
    alone = check([draw(1000)], "recall", 0.85)
    assert check([draw(1000), other], "recall", 0.85).threshold == alone.threshold


def test_promise_of_each_label_is_stricter_than_of_one() -> None:
    corpus = draw(2000)
    for text, more in zip(corpus.texts, draw(2000, label="B").texts, strict=True):
        corpus.texts[corpus.texts.index(text)] = Candidates(
            text.gold | more.gold, [*text.found, *more.found]
        )
    rates = {"A": 0.85, "B": 0.7}
    a, b = check_promise([corpus], "recall", rates, labels=["A", "B"])
    assert (a.name, a.labels, b.name) == ("A", ["A"], "B")
    assert a.threshold <= check([corpus], "recall", 0.85).threshold
    assert a.threshold < b.threshold


def test_promise_says_how_many_docs_are_missing() -> None:
    shortfall = check([draw(60)], "recall", 0.93).shortfall
    assert shortfall is not None
    assert shortfall.docs is not None
    assert 60 < shortfall.docs < 6000
    assert shortfall.reached > 0.93 > (shortfall.provable or 0)
    # about as many do, and the highest provable rate can be promised
    assert check([draw(2 * shortfall.docs)], "recall", 0.93).threshold is not None
    assert check([draw(60)], "recall", shortfall.provable or 0).threshold is not None


def test_promise_says_that_more_docs_would_not_do() -> None:
    shortfall = check([draw(2000)], "recall", 0.99).shortfall
    assert shortfall is not None
    assert shortfall.docs is None
    assert shortfall.reached < 0.99


def test_promise_of_precision_counts_the_docs_where_its_test_starts() -> None:
    # the most probable mention alone would pass with few Docs, but is never tested
    [sure] = draw_found(1, right=True, score=0.99)
    corpus = CandidateCorpus(
        [*[sure] * 60, *draw_found(400, right=True), *draw_found(400, right=False)],
        nested=False,
    )
    shortfall = check([corpus], "precision", 0.6).shortfall
    assert shortfall is not None
    assert shortfall.docs is None
    assert shortfall.reached < 0.6


def test_promise_of_precision_is_made_with_the_docs_that_were_missing() -> None:
    few = draw(60)
    for rate in (0.75, 0.8):
        shortfall = check([few], "precision", rate).shortfall
        assert shortfall is not None
        assert shortfall.docs is not None
        more = CandidateCorpus(
            [*few.texts] * math.ceil(shortfall.docs / 60), nested=False
        )
        assert check([more], "precision", rate).threshold is not None


@pytest.mark.parametrize("measure", ["recall", "precision"])
def test_promise_of_a_model_that_finds_nothing_is_refused(measure: str) -> None:
    gold = frozenset({GoldMention(0, 5, "A")})
    corpus = CandidateCorpus([Candidates(gold, [])] * 9, nested=False)
    shortfall = check([corpus], measure, 0.5).shortfall
    assert shortfall is not None
    assert (shortfall.reached, shortfall.provable, shortfall.docs) == (0.0, None, None)


def test_promise_is_added_to_a_tuning() -> None:
    tuning = Tuning({"A": 0.5})
    tuned, [row] = add_promise(
        tuning,
        PromiseRequest("recall", 0.9),
        [draw(1000)],
        [Path("dev.spacy")],
        component="ner",
    )
    assert tuned.promise is not None
    assert tuned.promise.thresholds == {"A": row.threshold}
    assert tuned.thresholds == tuning.thresholds
    # the promise has recall for precision
    assert row.promised.recall > row.normal.recall
    assert row.promised.precision < row.normal.precision


@pytest.mark.parametrize(
    ("requested", "docs", "message"),
    [
        (
            PromiseRequest("recall", 0.93),
            60,
            r"too little .* recall of 0\.93 for all labels with 90%",
        ),
        (
            PromiseRequest("recall", 0.93),
            60,
            r"dev\.spacy has 60 Docs, and about [\d,]+ more",
        ),
        (PromiseRequest("recall", 0.93), 60, r"Promise less: 0\.\d+ can be"),
        (
            PromiseRequest("recall", {"A": 0.999}),
            60,
            r"No threshold gives A .* in \[components\.ner\.decoder\]",
        ),
        (PromiseRequest("precision", 0.99), 3, "nothing can be promised"),
        (PromiseRequest("recall", {"A": 0.5, "B": 0.5}), 60, "no gold mention of B"),
    ],
)
def test_promise_that_cannot_be_made_names_the_remedy(
    requested: PromiseRequest, docs: int, message: str
) -> None:
    with pytest.raises(AnalysisError, match=message):
        add_promise(
            Tuning({"A": 0.5}),
            requested,
            [draw(docs)],
            [Path("dev.spacy")],
            component="ner",
        )


# The options


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("0.95", 0.95),
        (" .5 ", 0.5),
        ("A=0.9", {"A": 0.9}),
        ("B=.8, A=1e-1", {"B": 0.8, "A": 0.1}),
    ],
)
def test_promise_option_is_parsed(
    option: str, expected: float | dict[str, float]
) -> None:
    assert parse_promise(option, None, ["A", "B"]) == PromiseRequest("recall", expected)
    assert parse_promise(None, option, ["A", "B"]) == PromiseRequest(
        "precision", expected
    )
    assert parse_promise(None, None, ["A"]) is None


@pytest.mark.parametrize(
    "option",
    [
        "",
        "x",
        "95",
        "0",
        "1",
        "-0.5",
        "nan",
        "0.9,0.8",
        "A",
        "A=",
        "A=2",
        "C=0.9",
        "A=0.9,0.8",
        "A=0.9,A=0.8",
        "A=0.9,",
    ],
)
def test_promise_option_that_is_wrong_is_an_error(option: str) -> None:
    with pytest.raises(AnalysisError, match=r"--recall is .*A=0\.9.* labels are A, B"):
        parse_promise(option, None, ["A", "B"])


def test_promise_of_both_is_an_error() -> None:
    with pytest.raises(AnalysisError, match="not both"):
        parse_promise("0.9", "0.9", ["A"])


# The command and the component


def run_tune(folder: Path, *options: str, copies: int = 60) -> tuple[int, str]:
    nlp = trained()
    nlp.to_disk(folder / "nlp")
    docs = [gold_doc(nlp, text, gold) for text, gold in GOLD.items()]
    DocBin(docs=docs * copies).to_disk(folder / "gold.spacy")
    command = ["tune", str(folder / "nlp"), str(folder / "gold.spacy")]
    command += ["-o", str(folder / "tuned"), *options]
    result = CliRunner().invoke(padellm_cli, command)
    return result.exit_code, " ".join(result.output.split())


def test_promise_command_writes_a_pipeline_that_keeps_it(tmp_path: Path) -> None:
    figures = tmp_path / "out.json"
    code, output = run_tune(tmp_path, "--recall", "0.8", "--json", str(figures))
    assert code == 0, output
    assert "Promised recall" in output
    [row] = json.loads(figures.read_text("utf8"))["promise"]["measured"]
    assert row["promised"]["recall"] == 1
    nlp = spacy.load(tmp_path / "tuned")
    promise = pipe_of(nlp).promise
    assert promise is not None
    assert (promise.measure, promise.rate, promise.confidence) == ("recall", 0.8, 0.9)
    doc = nlp(TEXT)
    found = {(s.text, s.label_) for s in doc.spans["padellm_promised"]}
    assert set(GOLD[TEXT]) <= found


def test_promise_command_without_enough_data_writes_nothing(tmp_path: Path) -> None:
    code, output = run_tune(tmp_path, "--precision", "0.99", copies=1)
    assert code == 1
    assert "too little" in output
    assert "more like them are needed" in output
    assert not (tmp_path / "tuned" / "meta.json").exists()


def test_promise_spans_are_those_below_the_thresholds_too() -> None:
    nlp = trained()
    labels = pipe_of(nlp).labels
    promise = Promise("recall", 0.9, 0.9, dict.fromkeys(labels, 0.0))
    pipe_of(nlp).set_tuning(Tuning(dict.fromkeys(labels, 1.0), promise=promise))
    for doc in (nlp(TEXT), *nlp.pipe([TEXT])):
        assert not doc.ents
        spans = doc.spans["padellm_promised"]
        assert set(GOLD[TEXT]) <= {(span.text, span.label_) for span in spans}
        assert all(0 < span._.padellm_score <= 1 for span in spans)


def test_promise_is_dropped_by_training() -> None:
    nlp = trained()
    promise = Promise("recall", 0.9, 0.9, {"PER": 0.0})
    pipe_of(nlp).set_tuning(Tuning(promise=promise))
    train(nlp, steps=1)
    assert pipe_of(nlp).promise is None
    assert "padellm_promised" not in nlp(TEXT).spans
