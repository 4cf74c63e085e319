"""Tokenizers whose patterns take too long."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import LABELS, make_nlp, named, swallow
from trust_helpers import change, write_model

from spacy_padellm.decoding.base import DecodeJob, Decoder
from spacy_padellm.decoding.baselines.augmented import AugmentedDecoder
from spacy_padellm.decoding.baselines.onestep import OneStepDecoder
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.lm.loading import load_model, load_tokenizer
from spacy_padellm.prompt.template import PRESETS
from spacy_padellm.prompt.tokens import PromptTokens

PROMPT = {"@misc": "spacy-padellm.Prompt.v1", "preset": "paper-en"}
BOMB = " ".join("a" * 100)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model whose tokenizer needs exponential time for some texts."""
    folder = write_model(tmp_path / "model")
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf8"))
    split = {"type": "Split", "pattern": {"Regex": "([a ]+)+b"}, "behavior": "Isolated"}
    tokenizer["pre_tokenizer"]["pretokenizers"].insert(0, {**split, "invert": False})
    change(folder / "tokenizer.json", **tokenizer)
    return folder


def test_tokenizer_that_gives_up_while_it_is_loaded_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    panic = type("PanicException", (BaseException,), {})

    def give_up(*_: object, **__: object) -> None:
        raise panic("no such thing")

    monkeypatch.setattr("spacy_padellm.lm.loading.read_tokenizer", give_up)
    with pytest.raises(ValueError, match=r"Could not load .*: no such thing"):
        load_tokenizer("bundled-en-sm")


def test_tokenizer_that_gives_up_is_told(model: Path) -> None:
    tokens = PromptTokens(PRESETS["paper-en"], load_tokenizer(str(model)))
    with pytest.raises(ValueError, match=r"tokenizer gave up on a text: .*retry-limit"):
        tokens.count_prompts([BOMB], ["person"])


def test_tokenizer_that_gives_up_costs_one_text(model: Path) -> None:
    settings = {"labels": LABELS, "prompt": PROMPT, "layout": "ignore"}
    nlp = make_nlp(model=named(model), **settings)
    errors: list[str] = []
    nlp.set_error_handler(swallow(errors))
    texts = ["Bob ran .", BOMB, "Anna ran ."]
    assert [doc.text for doc in nlp.pipe(texts)] == [texts[0], texts[2]]
    assert errors == [BOMB]


DECODERS = [
    TreeDecoder(),
    BatchDecoder(),
    BatchDecoder(max_batch_tokens=1000),
    OneStepDecoder(),
    AugmentedDecoder(),
]


@pytest.mark.parametrize("decoder", DECODERS)
def test_tokenizer_that_gives_up_costs_a_stream_one_text(
    model: Path, decoder: Decoder
) -> None:
    lm = load_model(str(model))
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    texts = ["Bob ran .", BOMB, "Anna ran .", BOMB]
    found = list(decoder.stream(DecodeJob(prompt, LABELS, lm), texts))
    errors = [result for result in found if isinstance(result, Exception)]
    assert errors == [found[1], found[3]]
    assert all("tokenizer gave up on a text" in str(error) for error in errors)


@pytest.mark.parametrize("decoder", DECODERS[:3])
def test_tokenizer_that_refuses_a_label_ends_a_stream(
    model: Path, decoder: Decoder
) -> None:
    lm = load_model(str(model))
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    job = DecodeJob(prompt, {"A": f"a {lm.tokenizer.eos_token}"}, lm)
    with pytest.raises(ValueError, match="special token"):
        list(decoder.stream(job, ["Bob ran .", BOMB]))


ONLY_UNKNOWN = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}


@pytest.mark.parametrize(
    "settings",
    [
        {"normalizer": {"type": "Replace", "pattern": {"Regex": ".*"}, "content": ""}},
        {"model": ONLY_UNKNOWN},
    ],
)
def test_tokenizer_that_reads_no_digits_is_told(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    folder = write_model(tmp_path / "model")
    change(folder / "tokenizer.json", **settings)
    with pytest.raises(ValueError, match="its tokenizer has no tokens for digits"):
        load_tokenizer(str(folder))


def test_tokenizer_with_a_limit_that_is_no_number_is_told(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    change(folder / "tokenizer_config.json", model_max_length="x")
    with pytest.raises(ValueError, match="Could not load"):
        load_tokenizer(str(folder))
