"""`ServerDecoder` against real servers of the bundled model: `make test-servers`."""

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

if "VLLM_PYTHON" not in os.environ:
    pytest.skip("run by `make test-servers`", allow_module_level=True)

from server_process import Server, running
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.batch import BatchDecoder
from spacy_padellm.decoding.server import ServerDecoder
from spacy_padellm.decoding.server_answers import Answer, read_answers
from spacy_padellm.lm import BUNDLED, LanguageModel, load
from spacy_padellm.mentions import Mention
from spacy_padellm.prompt import PromptTokens
from spacy_padellm.settings import TaskSettings, read_settings

MODEL = BUNDLED["bundled-en"]
TEXTS = [
    "Angela Merkel met Emmanuel Macron in Berlin .",
    "Apollo 11 landed on the Moon in July 1969 with Neil Armstrong and Buzz Aldrin "
    "aboard, while Michael Collins stayed in orbit.",
    "The European Central Bank in Frankfurt kept its rates unchanged on Thursday. "
    "Christine Lagarde said that growth in Germany and Italy remains weak.",
    "Marie Curie was born in Warsaw and studied in Paris. She is the only person "
    "with Nobel Prizes in two sciences.",
    "Brazil beat Italy 4-1 in the final of the 1970 World Cup in Mexico City, with "
    "goals by Pele, Gerson, Jairzinho and Carlos Alberto.",
    "There was nothing new to report.",
    "SOCCER - JAPAN GET LUCKY WIN , CHINA IN SURPRISE DEFEAT .",
    "Shares of Apple, Microsoft and IBM rose in New York on Friday.",
    "The U.N. Security Council met in Geneva , diplomats from France said .",
    "Barack Obama visited Kenya, Ethiopia and South Africa in 2015.",
]


def task() -> TaskSettings:
    settings = read_settings(MODEL)
    assert settings is not None
    return settings


LABELS = task().labels


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    """The same model in this process, in float32."""
    return load("bundled-en")


@pytest.fixture(scope="module")
def prompt(lm: LanguageModel) -> PromptTokens:
    settings = task().prompt
    assert settings is not None
    return lm.tokens_of(settings)


@pytest.fixture(scope="module")
def wanted(lm: LanguageModel, prompt: PromptTokens) -> list[list[Mention]]:
    found = decode(BatchDecoder(), lm, prompt, TEXTS, LABELS)
    assert sum(map(len, found)) > 15
    return found


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """vLLM on the CPU with the bundled model in float32."""
    module = "vllm.entrypoints.openai.api_server"
    command = [os.environ["VLLM_PYTHON"], "-m", module, "--model", str(MODEL)]
    command += ["--served-model-name", "ner", "--dtype", "float32", "--enforce-eager"]
    # blocks as short as sentences, or nothing of them is shared
    command += ["--block-size", "32", "--max-num-seqs", "64"]
    log = tmp_path_factory.mktemp("vllm") / "log"
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    yield from running(Server(command, log, **settings, **offline))


@pytest.fixture(scope="module")
def llama_cpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """llama.cpp's server with the bundled model in float32."""
    folder = tmp_path_factory.mktemp("llama")
    gguf = folder / "model.gguf"
    python, here = os.environ["VLLM_PYTHON"], Path(__file__).parent
    convert = [python, str(here / "make_gguf.py"), str(MODEL), str(gguf)]
    subprocess.run(convert, check=True)
    command = [python, str(here / "run_llama_cpp.py"), str(gguf)]
    yield from running(Server(command, folder / "log"))


def same(
    found: list[list[Mention]], wanted: list[list[Mention]], *, within: float
) -> bool:
    for a, b in zip(found, wanted, strict=True):
        assert [(m.label, m.index, m.text) for m in a] == [
            (m.label, m.index, m.text) for m in b
        ]
        scores = [m.score for m in b]
        assert [m.score for m in a] == pytest.approx(scores, abs=within)
    return True


def decoder(server: Server, **settings: Any) -> ServerDecoder:
    return ServerDecoder(f"{server.root}/v1", **settings)


def test_servers_vllm_equals_separate_sequences(
    vllm: Server, prompt: PromptTokens, wanted: list[list[Mention]]
) -> None:
    found = decode(decoder(vllm, model="ner"), None, prompt, TEXTS, LABELS)
    assert same(found, wanted, within=1e-4)


def test_servers_llama_cpp_equals_separate_sequences(
    llama_cpp: Server, prompt: PromptTokens, wanted: list[list[Mention]]
) -> None:
    # its attention and normalisation round otherwise
    found = decode(decoder(llama_cpp), None, prompt, TEXTS, LABELS)
    assert same(found, wanted, within=2e-3)


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
    # longer than a block, and with beginnings of their own
    texts = [" ".join(TEXTS[first:] + TEXTS[:first]) for first in range(0, 10, 2)]
    one = decoder(vllm)
    decode(one, None, prompt, TEXTS[:1], LABELS)  # the check at start-up
    before = computed_tokens(vllm)
    found = decode(one, None, prompt, texts, LABELS)
    computed = computed_tokens(vllm) - before
    roots = [len(b.root) for b in prompt.count_branches(texts, list(LABELS.values()))]
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
    one, other = "Ġin", "Ġof"
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)),
        eos_token=tokenizer.eos_token,
    )


def test_servers_llama_cpp_cut_characters_are_told(
    llama_cpp: Server, prompt: PromptTokens
) -> None:
    one = decoder(llama_cpp)
    decode(one, None, prompt, TEXTS[:1], LABELS)
    connection = one.__dict__["_served"].connection
    ids = prompt.tokenizer("😀", add_special_tokens=False)["input_ids"]
    # the character's first bytes, with or without a blank before them
    lead = next(i for i in ids if prompt.decode([i]).endswith("\ufffd"))
    body = {
        "prompt": [[prompt.eos]],
        "max_tokens": 2,
        "temperature": 0,
        "logprobs": 1,
        # the answer is to end inside of a character
        "logit_bias": [[lead, 1000]],
    }

    def read(answer: object) -> list[Answer]:
        return read_answers(answer, prompts=1, max_tokens=2, decode=prompt.decode)

    asked = connection.request("post", "/completions", read, body=body)
    with pytest.raises(ValueError, match=r"gives (no log-prob|not all tokens)"):
        connection.submit(asked).result(timeout=60)


def test_servers_vllm_killed_and_started_again_loses_no_text(
    vllm: Server, prompt: PromptTokens, wanted: list[list[Mention]]
) -> None:
    one = decoder(vllm, max_retries=40, max_concurrency=2)
    results = one.stream(None, prompt, TEXTS, LABELS)
    found = [next(results)]
    vllm.kill()
    starter = threading.Thread(target=vllm.start)
    starter.start()
    found += results
    starter.join()
    assert same(found, wanted, within=1e-4)
