"""`ServerDecoder` against real servers of a small model: `make test-servers`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

if "VLLM_PYTHON" not in os.environ:
    pytest.skip("run by `make test-servers`", allow_module_level=True)

from helpers import (
    DOC_SPANS,
    GOLD,
    LABELS,
    NAME,
    SMALL,
    gold_examples,
    make_nlp,
    train,
)
from server_process import Server, running
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from spacy_padellm.decoding.base import DecodeJob, decode
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.server.answers import (
    Answer,
    CompletionRequest,
    read_answers,
)
from spacy_padellm.decoding.server.decoder import ServerDecoder
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_model
from spacy_padellm.lm.task.config import read_settings
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.tokens import PromptTokens

TEXTS = [
    *GOLD,
    "Bob met Anna Smith in London .",
    "The Bank of London closed in Paris .",
    "Bob left Acme .",
    "Anna Smith hired Bob in Paris .",
    "Acme closed .",
]
# longer than the blocks of a cache, and each with a beginning of its own
LONG = [" ".join((TEXTS[first:] + TEXTS[:first]) * 2) for first in range(0, 10, 2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that reads from left to right, as servers do."""
    torch.manual_seed(0)
    # heads as large as vLLM's kernels want them
    shape = {"hidden_size": 128, "intermediate_size": 256, "layers": 2}
    model = {**SMALL, **shape, "context": 1024}
    nlp = make_nlp(model=model, labels=LABELS, span_getter=DOC_SPANS)
    mentions = sorted({mention for of_text in GOLD.values() for mention in of_text})
    examples = gold_examples(nlp, {**GOLD, LONG[0]: mentions})
    nlp.initialize(lambda: examples)
    train(nlp, steps=60, examples=examples)
    saved = tmp_path_factory.mktemp("nlp") / "nlp"
    nlp.to_disk(saved)
    return saved / NAME / "model"


@pytest.fixture(scope="module")
def lm(folder: Path) -> LanguageModel:
    """The same model in this process."""
    return load_model(str(folder))


@pytest.fixture(scope="module")
def prompt(lm: LanguageModel, folder: Path) -> PromptTokens:
    settings = read_settings(folder)
    assert settings is not None
    assert settings.prompt is not None
    return lm.tokens_of(settings.prompt)


@pytest.fixture(scope="module")
def expected(lm: LanguageModel, prompt: PromptTokens) -> list[list[Mention]]:
    found = decode(BatchDecoder(), lm, prompt, TEXTS, LABELS)
    assert sum(map(len, found)) > 15
    return found


@pytest.fixture(scope="module")
def vllm(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """vLLM on the CPU with the model in float32."""
    module = "vllm.entrypoints.openai.api_server"
    command = [os.environ["VLLM_PYTHON"], "-m", module, "--model", str(folder)]
    command += ["--served-model-name", "ner", "--dtype", "float32", "--enforce-eager"]
    # blocks as short as sentences, or nothing of them is shared
    command += ["--block-size", "32", "--max-num-seqs", "64"]
    log = tmp_path_factory.mktemp("vllm") / "log"
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    yield from running(Server(command, log, **settings, **offline))


@pytest.fixture(scope="module")
def llama_cpp(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """llama.cpp's server with the model in float32."""
    made = tmp_path_factory.mktemp("llama")
    gguf = made / "model.gguf"
    python, here = os.environ["VLLM_PYTHON"], Path(__file__).parent
    convert = [python, str(here / "make_gguf.py"), str(folder), str(gguf)]
    subprocess.run(convert, check=True)
    command = [python, str(here / "run_llama_cpp.py"), str(gguf)]
    yield from running(Server(command, made / "log"))


def same(
    found: list[list[Mention]], expected: list[list[Mention]], *, within: float
) -> bool:
    for a, b in zip(found, expected, strict=True):
        assert [(m.label, m.index, m.text) for m in a] == [
            (m.label, m.index, m.text) for m in b
        ]
        scores = [m.score for m in b]
        assert [m.score for m in a] == pytest.approx(scores, abs=within)
    return True


def decoder(server: Server, **settings: Any) -> ServerDecoder:
    return ServerDecoder(f"{server.root}/v1", **settings)


def test_servers_vllm_equals_separate_sequences(
    vllm: Server, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    found = decode(decoder(vllm, model="ner"), None, prompt, TEXTS, LABELS)
    assert same(found, expected, within=1e-4)


def test_servers_llama_cpp_equals_separate_sequences(
    llama_cpp: Server, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    # its attention and normalisation round otherwise
    found = decode(decoder(llama_cpp), None, prompt, TEXTS, LABELS)
    assert same(found, expected, within=2e-3)


def computed_tokens(server: Server) -> float:
    """Prompt tokens that vLLM did not find in its cache, so far."""
    metrics = server.get("/metrics")

    def total(name: str) -> float:
        rows = re.findall(rf"^vllm:{name}_total{{.*}} (\S+)$", metrics, re.MULTILINE)
        return sum(map(float, rows))

    return total("prefix_cache_queries") - total("prefix_cache_hits")


def test_servers_vllm_computes_each_text_once(
    vllm: Server, prompt: PromptTokens
) -> None:
    server_decoder = decoder(vllm)
    decode(server_decoder, None, prompt, TEXTS[:1], LABELS)  # the check at start-up
    before = computed_tokens(vllm)
    found = decode(server_decoder, None, prompt, LONG, LABELS)
    assert sum(map(len, found)) > 0
    computed = computed_tokens(vllm) - before
    roots = [len(b.root) for b in prompt.count_prompts(LONG, list(LABELS.values()))]
    prompts = [len(LABELS) + len(mentions) for mentions in found]
    # what is not shared: a block that is not full, label, count and index of each
    most = sum(roots) + 2 * 32 * sum(prompts)
    repeated = sum(root * count for root, count in zip(roots, prompts, strict=True))
    assert computed < most < repeated


def test_servers_vllm_without_the_model_is_told(
    vllm: Server, prompt: PromptTokens
) -> None:
    with pytest.raises(ValueError, match="has no model other; it serves: ner"):
        decode(decoder(vllm, model="other"), None, prompt, TEXTS, LABELS)


@pytest.mark.parametrize("kind", ["vllm", "llama_cpp"])
def test_servers_with_another_tokenizer_are_told(
    kind: str, request: pytest.FixtureRequest, prompt: PromptTokens
) -> None:
    server = request.getfixturevalue(kind)
    other = PromptTokens(prompt.prompt, swapped(prompt.tokenizer))
    with pytest.raises(ValueError, match="has another tokenizer"):
        decode(decoder(server), None, other, TEXTS, LABELS)


def swapped(tokenizer: Any) -> Any:
    """The tokenizer with two of its frequent tokens exchanged."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = content["model"]["vocab"]
    first, second = "Ġin", "Ġ."
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)),
        eos_token=tokenizer.eos_token,
    )


def test_servers_llama_cpp_cut_characters_are_told(
    llama_cpp: Server, prompt: PromptTokens
) -> None:
    server_decoder = decoder(llama_cpp)
    decode(server_decoder, None, prompt, TEXTS[:1], LABELS)
    connection = server_decoder.__dict__["_served"].connection
    ids = prompt.tokenizer("😀", add_special_tokens=False)["input_ids"]
    # the character's first bytes, with or without a blank before them
    lead = next(i for i in ids if prompt.strings.decode([i]).endswith("\ufffd"))
    body = {
        "model": "ner",
        "prompt": [[prompt.eos]],
        "max_tokens": 2,
        "temperature": 0,
        "logprobs": 1,
        # the answer is to end inside of a character
        "logit_bias": [[lead, 1000]],
    }

    completion = CompletionRequest(
        prompts=[[prompt.eos]],
        max_tokens=2,
        models={"ner"},
        vocabulary=prompt.strings.size,
        decode=prompt.strings.decode,
    )

    def read(answer: object) -> list[Answer]:
        return read_answers(answer, completion)

    request = connection.request("post", "/completions", read, body=body)
    with pytest.raises(ValueError, match=r"returns (no log-prob|not all tokens)"):
        connection.submit(request).result(timeout=60)


def test_servers_vllm_killed_and_started_again_loses_no_text(
    vllm: Server, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    server_decoder = decoder(vllm, max_retries=40, max_concurrency=2)
    results = server_decoder.stream(DecodeJob(prompt, LABELS), TEXTS)
    found = [next(results)]
    vllm.kill()
    starter = threading.Thread(target=vllm.start)
    starter.start()
    found += results
    starter.join()
    assert same(found, expected, within=1e-4)
