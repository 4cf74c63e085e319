"""Tests of what is run on a GPU machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import spacy
import torch
from helpers import GOLD, gold_doc
from spacy.tokens import DocBin

from benchmarks.gpu import profile, training
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


def run_parts(out: Path, *parts: str, **settings: str) -> tuple[list[str], str]:
    """Run parts with a Python that does nothing: the summary, and what is printed."""
    done = subprocess.run(
        ["bash", str(ROOT / "benchmarks" / "gpu" / "run.sh"), *parts],
        cwd=ROOT,
        env={**os.environ, "OUT": str(out), "SITE": "none", **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    return (out / "summary.txt").read_text("utf8").splitlines(), done.stdout


def test_benchmark_gpu_parts_without_time_are_left_out(tmp_path: Path) -> None:
    python = {"PYTHON": sys.executable, "DEVICE": "cpu"}
    summary, printed = run_parts(tmp_path, "tests", "training", BUDGET="0", **python)
    assert summary == [
        f"== {part}: left out, no time"
        for part in ("tests", "training-135M", "training-0.6B")
    ]
    assert printed.splitlines()[-3:] == summary


def test_benchmark_gpu_limits_of_the_parts_are_within_the_budget(
    tmp_path: Path,
) -> None:
    summary, _ = run_parts(tmp_path, PYTHON="true")
    found = [re.match(r"== (\S+): exit 0 after \d+ of (\d+) s", x) for x in summary]
    limits = {match[1]: int(match[2]) for match in found if match}
    assert len(limits) == len(summary)
    assert [name.partition("-")[0] for name in limits] == [
        *("smoke", "decoding", "decoding", "training", "training", "bundled"),
        *("stream", "stream", "profile", "profile", "batches", "tests"),
        *("others", "others"),
    ]
    assert limits["smoke"] <= 40
    *_, last = limits  # gets what is left
    assert sum(limits.values()) - limits[last] <= 480


def test_benchmark_gpu_table_marks_figures_of_ended_parts(tmp_path: Path) -> None:
    figures = {"unfinished": True, "results": [RESULT]}
    (tmp_path / "stream-7B.json").write_text(json.dumps(figures))
    *_, line = figures_table(tmp_path).splitlines()
    assert line.startswith("stream-7B: TreeDecoder (unfinished) ")


def test_benchmark_gpu_profile_counts_every_kind_of_launch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Profile:
        def __enter__(self) -> Profile:
            return self

        def __exit__(self, *args: object) -> None:
            pass

        def key_averages(self) -> list[SimpleNamespace]:
            counts = {"cudaLaunchKernel": 6, "cuLaunchKernelEx": 3, "cudaMalloc": 2}
            counts["cudaGraphLaunch"] = 1
            cpu = torch.autograd.DeviceType.CPU
            return [
                SimpleNamespace(key=name, count=count, device_type=cpu)
                for name, count in counts.items()
            ]

    monkeypatch.setattr(profile, "profile", lambda activities: Profile())
    found = profile.measure(lambda: None, 2)
    assert found["launches a text"] == 5
    assert found["launches by call"] == {
        "cudaLaunchKernel": 3,
        "cuLaunchKernelEx": 1.5,
        "cudaGraphLaunch": 0.5,
    }
    assert found["waits a text"] == {"cudaMalloc": 1}


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
