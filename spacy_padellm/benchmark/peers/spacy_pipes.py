"""spaCy's entity recognizers as peers: the small one, and one on a transformer."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import spacy
from spacy import registry
from spacy.cli.init_config import init_config
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Example
from spacy.util import load_model_from_config
from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

from spacy_padellm.benchmark.peers.token_classifier import (
    ROBERTA_BASE,
    learn_byte_tokenizer,
)
from spacy_padellm.benchmark.subjects.pipelines import search_mentions
from spacy_padellm.mention.gold import GoldText

BATCH_TEXTS = 32


def make_peer(
    name: str, golds: Sequence[GoldText], *, lang: str, steps: int, seed: int
) -> Language:
    """Make one of spaCy's pipes, or load a pipeline.

    name (str): "ner", "transformer", or the package or folder of a pipeline.
    golds, lang, steps, seed: See `small_ner`.
    """
    makers = {"ner": small_ner, "transformer": transformer_ner}
    if name not in makers:
        return _only_ner(spacy.load(name))
    return makers[name](golds, lang=lang, steps=steps, seed=seed)


def _only_ner(nlp: Language) -> Language:
    """Let a pipeline run its `ner`, and the embeddings that it shares with others."""
    if "ner" in nlp.pipe_names:
        shared = [
            name
            for name, pipe in nlp.pipeline
            if "ner" in getattr(pipe, "listening_components", ())
        ]
        nlp.select_pipes(enable=[*shared, "ner"])
    return nlp


def small_ner(
    golds: Sequence[GoldText], *, lang: str, steps: int, seed: int
) -> Language:
    """spaCy's `ner` on `tok2vec`, with the config of `spacy init config` for speed.

    golds (Sequence[GoldText]): The texts for initialization and training.
    lang (str): The language.
    steps (int): Training steps; with 0 it is only initialized.
    seed (int): Seed of the order of the texts.
    """
    config = init_config(lang=lang, pipeline=["ner"], optimize="efficiency", gpu=False)
    return _ready(load_model_from_config(config, auto_fill=True), golds, steps, seed)


def transformer_ner(
    golds: Sequence[GoldText],
    *,
    lang: str,
    steps: int,
    seed: int,
    sizes: dict[str, Any] | None = None,
) -> Language:
    """spaCy's `ner` on a transformer with roberta-base's shape and random weights.

    golds, lang, steps, seed: See `small_ner`.
    sizes (dict[str, Any] | None): Arguments of RobertaConfig that replace those of
        roberta-base.
    """
    config = init_config(lang=lang, pipeline=["ner"], optimize="efficiency", gpu=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        texts = [gold.text for gold in golds]
        _save_roberta(folder, texts, {**ROBERTA_BASE, **(sizes or {})})
        config["components"]["transformer"]["model"]["name"] = str(folder)
        nlp = load_model_from_config(config, auto_fill=True)
        return _ready(nlp, golds, steps, seed)


def _save_roberta(folder: Path, texts: list[str], sizes: dict[str, Any]) -> None:
    """Write a model folder for spacy-transformers, with a tokenizer for the texts."""
    learn_byte_tokenizer(texts, sizes["vocab_size"]).save_model(str(folder))
    files = [str(folder / name) for name in ("vocab.json", "merges.txt")]
    RobertaTokenizerFast(*files).save_pretrained(folder)
    RobertaModel(RobertaConfig(**sizes)).save_pretrained(folder)


def _ready(nlp: Language, golds: Sequence[GoldText], steps: int, seed: int) -> Language:
    examples = [Example(nlp.make_doc(g.text), search_mentions(nlp, g)) for g in golds]
    nlp.initialize(lambda: examples)
    settings = nlp.config.interpolate()["training"]
    optimizer = registry.resolve(settings, schema=ConfigSchemaTraining)["optimizer"]
    chance = random.Random(seed)
    for _ in range(steps):
        batch = chance.sample(examples, min(BATCH_TEXTS, len(examples)))
        nlp.update(batch, sgd=optimizer)
        optimizer.step_schedules()
    return nlp
