"""The paper's baselines through the component: trained, saved, loaded, run."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import spacy
from helpers import (
    GOLD,
    LABELS,
    NESTED,
    SMALL,
    TEXT,
    found,
    initialised,
    pipe_of,
    train,
)
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import load_model_from_config
from thinc.api import Config

from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.forced import ForcedOutputs

KINDS = ["OneStep", "Structured", "Augmented"]
SHAPE = {"hidden_size": 64, "intermediate_size": 128, "layers": 2}


def decoder_config(kind: str, **settings: int) -> dict[str, str | int]:
    return {"@misc": f"spacy-padellm.{kind}Decoder.v1", **settings}


@cache
def overfitted(kind: str, preset: str = "compact") -> Language:
    """A pipeline that was overfitted to the gold examples; do not change it."""
    nlp = initialised(
        model={**SMALL, **SHAPE},
        labels=LABELS,
        decoder=decoder_config(kind),
        prompt={"@misc": "spacy-padellm.Prompt.v1", "preset": preset},
    )
    train(nlp, steps=80, rate=0.008)
    return nlp


def expected(kind: str, text: str) -> list[tuple[str, str]]:
    if kind == "Augmented" and text == NESTED:
        return [("Bank of Paris", "ORG")]  # it keeps the outermost
    return GOLD[text]


def scores(doc: Doc) -> list[float]:
    return list(doc.spans["padellm"].attrs["scores"])


@pytest.mark.parametrize("kind", KINDS)
def test_baselines_trained_find_the_gold_mentions(kind: str) -> None:
    nlp = overfitted(kind)
    docs = [nlp(text) for text in GOLD]
    assert found(docs) == [expected(kind, text) for text in GOLD]
    assert all(0.5 < score <= 1 for doc in docs for score in scores(doc))


@pytest.mark.parametrize("kind", KINDS)
def test_baselines_trained_find_the_same_in_a_stream(kind: str) -> None:
    nlp = overfitted(kind)
    texts = [*GOLD, TEXT * 2, *reversed(GOLD), "Bob left ."]
    alone = [nlp(text) for text in texts]
    together = list(nlp.pipe(texts))
    assert [doc.text for doc in together] == texts
    assert found(together) == found(alone)
    for doc, other in zip(together, alone, strict=True):
        assert scores(doc) == pytest.approx(scores(other), abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_baselines_trained_scores_are_those_of_the_forced_answer(kind: str) -> None:
    pipe = pipe_of(overfitted(kind))
    lm = pipe.handle.lm()
    assert pipe.prompt is not None
    prompt = lm.tokens_of(pipe.prompt)
    (free,) = decode(pipe.decoder, lm, prompt, [TEXT], LABELS)
    gold: dict[str, list[str]] = {}
    for mention in free:
        gold.setdefault(mention.label, []).append(mention.text)
    forced = ForcedOutputs(prompt, {TEXT: gold})
    (forced_mentions,) = decode(pipe.decoder, lm, prompt, [TEXT], LABELS, forced=forced)
    assert len(free) == 3
    assert [m.score for m in forced_mentions] == pytest.approx(
        [m.score for m in free], abs=1e-5
    )


def test_baselines_trained_with_the_papers_prompt() -> None:
    nlp = overfitted("Structured", "paper-en")
    assert found([nlp(TEXT)]) == [GOLD[TEXT]]


@pytest.mark.parametrize("kind", KINDS)
def test_baselines_saved_with_their_config(kind: str, tmp_path: Path) -> None:
    nlp = overfitted(kind)
    nlp.to_disk(tmp_path)
    config = Config().from_disk(tmp_path / "config.cfg")
    assert config["components"]["padellm_ner"]["decoder"] == decoder_config(
        kind, max_mentions=32, max_batch_tokens=1024
    )
    loaded = spacy.load(tmp_path)
    assert pipe_of(loaded).decoder == pipe_of(nlp).decoder
    assert found([loaded(TEXT)]) == found([nlp(TEXT)])


@pytest.mark.parametrize("kind", KINDS)
def test_baselines_settings_come_from_the_config(kind: str) -> None:
    settings = {"max_mentions": 3, "max_batch_tokens": 77}
    nlp = initialised(labels=LABELS, decoder=decoder_config(kind, **settings))
    decoder = pipe_of(nlp).decoder
    assert {name: getattr(decoder, name) for name in settings} == settings


def test_batch_decoder_devices_come_from_the_config() -> None:
    config = {
        "@misc": "spacy-padellm.BatchDecoder.v1",
        "devices": ["cpu", "cpu"],
        "max_batch_tokens": 200,
    }
    nlp = initialised(labels=LABELS, decoder=config)
    saved = Config().from_str(nlp.config.to_str())
    decoder = pipe_of(load_model_from_config(saved)).decoder
    assert decoder.devices == ("cpu", "cpu")
    assert decoder.max_batch_tokens == 200
    assert len(list(nlp.pipe(GOLD))) == len(GOLD)
