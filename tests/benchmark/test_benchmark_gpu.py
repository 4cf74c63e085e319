"""Tests of what is run on a GPU machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
from helpers import GOLD, gold_doc
from spacy.tokens import DocBin

from benchmarks.gpu import training
from benchmarks.gpu.table import figures_table

ROOT = Path(__file__).parents[2]
RESULT = {
    "name": "TreeDecoder",
    "mean_ms": 12.34,
    "times_floor": 2.5,
    "words_a_second": 45678.9,
}
TRAINING = {"tokens_a_second": 9876.5, "share_of_matrix_rate": 0.31, "peak_gib": None}


def test_benchmark_gpu_table_has_the_main_figures(tmp_path: Path) -> None:
    (tmp_path / "decoding-7B.json").write_text(json.dumps({"results": [RESULT]}))
    (tmp_path / "training-7B.json").write_text(json.dumps({"training": TRAINING}))
    (tmp_path / "ended.json").write_text('{"results": [')
    (tmp_path / "profile.json").write_text('{"alone": {"ms a text": 3}}')
    decoding, trained = figures_table(tmp_path).split("\n\n")
    assert decoding.splitlines()[-1].split() == [
        *("decoding-7B:", "TreeDecoder"),
        *("12.3", "2.5", "45,679"),
    ]
    assert trained.splitlines()[-1].split() == ["training-7B", "9,876", "31"]
    assert figures_table(tmp_path / "nothing") == ""


def test_benchmark_gpu_parts_without_time_are_left_out(tmp_path: Path) -> None:
    settings = {"OUT": str(tmp_path), "BUDGET": "0", "DEVICE": "cpu"}
    script = ROOT / "benchmarks" / "gpu" / "run.sh"
    done = subprocess.run(
        ["bash", str(script), "tests", "training"],
        cwd=ROOT,
        env={**os.environ, **settings, "PYTHON": sys.executable, "SITE": "none"},
        capture_output=True,
        text=True,
        check=True,
    )
    summary = (tmp_path / "summary.txt").read_text("utf8")
    assert summary.splitlines() == [
        f"== {part}: left out, no time"
        for part in ("tests", "training-135M", "training-0.6B")
    ]
    assert done.stdout.endswith(summary)


@pytest.mark.slow
def test_benchmark_gpu_training_counts_tokens_and_products(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nlp = spacy.blank("en")
    docs = [gold_doc(nlp, text, gold) for text, gold in GOLD.items()]
    DocBin(docs=docs).to_disk(tmp_path / "gold.spacy")
    target = tmp_path / "figures.json"
    command = ["training", str(tmp_path / "gold.spacy"), "--shape", "tiny"]
    command += ["--device", "cpu", "--dtype", "float32", "--seconds", "0.1"]
    monkeypatch.setattr(sys, "argv", [*command, "--json", str(target)])
    training.main()
    figures = json.loads(target.read_text("utf8"))["training"]
    assert figures["steps"] >= 1
    assert figures["passes_a_step"] == 1
    tokens_a_step = figures["tokens_a_second"] * figures["seconds_a_step"]
    assert tokens_a_step > sum(map(len, docs))
    assert 0 < figures["share_of_matrix_rate"] < 1
