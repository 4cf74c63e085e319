"""The comparison of the methods, run whole on a little data."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import spacy
from helpers import GOLD, gold_doc
from new_process import run_python
from spacy.tokens import DocBin
from thinc.api import Config
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks import compare

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parent.parent.parent
SETS = ("conll03", "weibo", "resume", "youku", "ecommerce")


def run(*args: str) -> str:
    return run_python(*args, cwd=REPOSITORY)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora")
    nlp = spacy.blank("en")
    docs = [gold_doc(nlp, text, mentions) for text, mentions in GOLD.items()]
    for doc in docs:
        doc.user_data["padellm_labels"] = ["LOC", "ORG", "PER"]
    for part in ("train", "dev"):
        (folder / part).mkdir()
        for name in SETS:
            path = folder / part / f"{name}.spacy"
            DocBin(docs=docs, store_user_data=True).to_disk(path)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, corpora: Path) -> Path:
    folder = tmp_path_factory.mktemp("base")
    inputs = [str(corpora / "train" / f"{name}.spacy") for name in SETS]
    run("scripts/pretrain.py", str(folder), *inputs, "--steps", "2", "--rows", "1")
    return folder


def test_compare_pretrained_model_is_a_hugging_face_folder(base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    assert model.config.vocab_size == len(AutoTokenizer.from_pretrained(base))
    assert not list(base.glob("*.bin"))


def test_compare_scores_each_set_and_runs_missing_methods(
    base: Path, corpora: Path, tmp_path: Path
) -> None:
    def compare(methods: str) -> dict[str, dict[str, dict[str, float]]]:
        run(
            *("-m", "benchmarks.compare", str(base), "--corpora", str(corpora)),
            *("--output", str(tmp_path), "--methods", methods, "--steps", "2"),
            *("--jobs", "2"),
            *("--json", str(tmp_path / "out.json")),
        )
        results: dict[str, dict[str, dict[str, float]]] = json.loads(
            (tmp_path / "out.json").read_text("utf8")
        )
        return results

    first = compare("onestep,aug")
    names = ["OneStep", "AutoReg-Aug"]
    expected = [n + end for n in names for end in ("", ", and thresholds by label")]
    assert list(first) == list(SETS)
    assert all(list(scores) == expected for scores in first.values())
    weights = tmp_path / "aug/model-last/padellm_ner/model/model.safetensors"
    trained = weights.stat().st_mtime_ns
    again = compare("onestep,aug")
    assert weights.stat().st_mtime_ns == trained
    for scores in (first, again):
        for figures in scores.values():
            assert all(figures[name].pop("ms_a_text") > 0 for name in names)
    assert again == first


def test_compare_trains_on_some_sets_with_a_config_and_a_seed(
    base: Path, corpora: Path, tmp_path: Path
) -> None:
    config = Config().from_disk(
        REPOSITORY / "configs" / "compare-llm.cfg", interpolate=False
    )
    config["components"]["padellm_ner"]["prompt"]["preset"] = "compact"
    config.to_disk(tmp_path / "my.cfg")
    run(
        *("-m", "benchmarks.compare", str(base), "--corpora", str(corpora)),
        *("--output", str(tmp_path), "--methods", "padellm", "--steps", "2"),
        *("--sets", "weibo,youku", "--config", str(tmp_path / "my.cfg")),
        *("--seed", "7", "--limit", "2", "--json", str(tmp_path / "out.json")),
    )
    results = json.loads((tmp_path / "out.json").read_text("utf8"))
    assert list(results) == ["weibo", "youku"]
    for figures in results.values():
        assert figures["PaDeLLM, batch decoder"]["ms_a_text"] > 0
    folder = tmp_path / "padellm"
    trained = spacy.load(folder / "model-last").config.interpolate()
    assert trained["training"]["seed"] == 7
    assert trained["components"]["padellm_ner"]["prompt"]["preset"] == "compact"
    texts = DocBin().from_disk(folder / "train.spacy")
    assert len(texts) == 2 * len(GOLD)
    assert not (folder / "checkpoint").exists()


def run_on(name: str, *, corpora: Path, output: Path) -> compare.Run:
    return compare.Run(
        base=corpora / "base",
        config=corpora / "no.cfg",
        corpora=corpora,
        output=output,
        sets=[name],
        steps=2,
        seed=0,
        limit=None,
    )


def test_compare_tells_mistakes_before_it_trains(corpora: Path, tmp_path: Path) -> None:
    def mistake(*methods: str, sets: str = "weibo") -> str | None:
        return compare.find_mistake(
            run_on(sets, corpora=corpora, output=tmp_path), methods
        )

    assert mistake("padellm", "aug") is None
    assert "--methods best:" in (mistake("padellm", "best") or "")
    assert "nowhere.spacy is missing" in (mistake("padellm", sets="nowhere") or "")
    identity = run_on("weibo", corpora=corpora, output=tmp_path).training(
        compare.METHODS["aug"]
    )
    compare.write_note(tmp_path / "aug" / "training.json", identity, 1.0)
    assert mistake("padellm") is None
    message = mistake("padellm", sets="youku") or ""
    assert "a training with another sets: give another --output" in message
    (tmp_path / "aug" / "training.json").write_text('{"of', "utf8")
    assert "aug to train anew" in (mistake("padellm") or "")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[compare.Run, list]:
    """A run on files that are no corpora, with what is done in it."""
    done: list[str] = []

    def score(*args: object, **options: object) -> dict[str, dict[str, float]]:
        done.append("scored")
        return {"OneStep": {"string_f": len(done)}}

    monkeypatch.setattr(compare, "train", lambda *args: done.append("trained"))
    monkeypatch.setattr(compare, "score", score)
    monkeypatch.setattr("torch.set_num_threads", lambda threads: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for part in ("train", "dev"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "weibo.spacy").write_text("texts", "utf8")
    return run_on("weibo", corpora=tmp_path, output=tmp_path / "out"), done


def test_compare_does_what_is_missing_alone(small: tuple[compare.Run, list]) -> None:
    run, done = small
    compare.run_method("onestep", run, threads=1)
    compare.run_method("onestep", run, threads=1)
    assert done == ["trained", "scored"]
    assert compare.collect(run)["weibo"]["OneStep"]["string_f"] == 2


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda run: run.dev("weibo").write_text("others", "utf8"), ["scored"]),
        (
            lambda run: run.train("weibo").write_text("others", "utf8"),
            ["trained", "scored"],
        ),
        (
            lambda run: (run.output / "onestep/scores.json").write_text('{"of', "utf8"),
            ["scored"],
        ),
    ],
    ids=["dev", "train", "half"],
)
def test_compare_keeps_no_results_of_other_files(
    small: tuple[compare.Run, list],
    change: Callable[[compare.Run], object],
    again: list,
) -> None:
    run, done = small
    compare.run_method("onestep", run, threads=1)
    change(run)
    assert compare.collect(run) == {"weibo": {}}
    done.clear()
    compare.run_method("onestep", run, threads=1)
    assert done == again


def test_compare_continued_trainings_have_no_time(
    corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: None)
    run = run_on("weibo", corpora=corpora, output=tmp_path)
    method, folder = compare.METHODS["padellm"], tmp_path / "padellm"
    assert compare.train(run, folder, method) is not None
    (folder / "checkpoint").mkdir()
    assert compare.train(run, folder, method) is None
    assert not (folder / "checkpoint").exists()
