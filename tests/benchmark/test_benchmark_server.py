"""The server's benchmark: both sides are to do the same work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openai")

from helpers import GOLD, model_folder
from small_server import SmallServer

from benchmarks.server import Workload, processor, rounds, share_as_tree
from benchmarks.vllm_processes import Process
from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.server.decoder import ServerDecoder
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_model
from spacy_padellm.lm.task.config import read_settings


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return load_model(str(model_folder()))


def make_workload(lm: LanguageModel) -> Workload:
    settings = read_settings(model_folder())
    assert settings is not None
    assert settings.prompt is not None
    return Workload(lm.tokens_of(settings.prompt), dict(settings.labels), list(GOLD))


def test_benchmark_server_asks_the_same_prompts_offline(lm: LanguageModel) -> None:
    workload = make_workload(lm)
    with SmallServer(lm) as server:
        decoder = ServerDecoder(server.url)
        found = decode(decoder, None, workload.prompt, workload.texts, workload.labels)
        requests = server.completions[1:]  # the first is the check at start-up
    counts, mentions = rounds(workload, found)
    assert len(mentions["prompts"]) == sum(map(len, found)) > 3
    for offline in (counts, mentions):
        bodies = [b for b in requests if b["max_tokens"] == offline["max_tokens"]]
        sent = [ids for body in bodies for ids in body["prompt"]]
        assert sorted(offline["prompts"]) == sorted(sent)
        for body in bodies:
            assert body["stop_token_ids"] == sorted(set(offline["stop"]))


def test_benchmark_server_compares_the_answers_with_the_tree_decoder(
    lm: LanguageModel,
) -> None:
    workload = make_workload(lm)
    with SmallServer(lm) as server:
        decoder = ServerDecoder(server.url)
        found = decode(decoder, None, workload.prompt, workload.texts, workload.labels)
    assert share_as_tree(found, model_folder(), workload, dtype="float32") == 1
    found[0] = found[0][1:]
    share = share_as_tree(found, model_folder(), workload, dtype="float32")
    assert share == 1 - 1 / len(GOLD)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_benchmark_server_counts_the_time_of_all_descendants() -> None:
    code = """
import subprocess, sys, time
depth = int(sys.argv[1])
if depth:
    subprocess.run([sys.executable, "-c", sys.argv[2], str(depth - 1), sys.argv[2]])
else:
    while time.process_time() < 0.5:
        pass
    print("worked", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, "2", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "worked\n"
        figures = Process(process).seconds()
        process.communicate("")
    assert figures["engine"] >= 0.4
    assert processor({"seconds": 100.0, **figures}) == sum(figures.values())
