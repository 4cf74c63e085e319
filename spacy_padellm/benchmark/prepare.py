"""What a run measures: the models with their texts, and their peers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spacy_padellm.benchmark.gold import (
    choose,
    have_mentions,
    join,
    names_of,
    with_labels,
)
from spacy_padellm.benchmark.measuring.measure import Entry
from spacy_padellm.benchmark.settings import CLASSIFIER, BenchmarkSettings
from spacy_padellm.benchmark.subjects.shapes import make_shaped
from spacy_padellm.benchmark.subjects.subjects import (
    Subject,
    forced_subject,
    trained_subject,
)
from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.placement import choose_placement
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.template import PRESETS


def make_subjects(
    settings: BenchmarkSettings, corpus: list[GoldText], *, lang: str | None
) -> tuple[list[Subject], list[GoldText]]:
    """Load or make the models with their decoders, and choose the texts.

    settings (BenchmarkSettings): The settings.
    corpus (list[GoldText]): All texts.
    lang (str | None): spaCy's language code; None if spaCy is not installed.
    RETURNS (tuple[list[Subject], list[GoldText]]): The models, and the chosen texts.
    RAISES (ValueError): If a model cannot be loaded, or models are to be forced to
        mentions that none of the chosen texts has.
    """
    if not settings.forced:
        trained = [
            trained_subject(
                name,
                decoders=settings.decoders,
                device=settings.device,
                dtype=settings.dtype,
                lang=lang,
                prefix=f"{Path(name).name}: " if len(settings.models) > 1 else "",
            )
            for name in settings.models
        ]
        return trained, _choose_texts(settings, corpus, trained[0].lm)
    placement = choose_placement(settings.device or "auto", settings.dtype or "auto")
    lm = make_shaped(
        settings.shape,
        [gold.text for gold in corpus],
        device=placement.device,
        dtype=placement.dtype,
        int8=placement.int8,
        seed=settings.seed,
    )
    golds = _choose_texts(settings, corpus, lm)
    if not have_mentions(golds):
        message = Errors.P1017.format(count=len(golds), path=settings.gold)
        raise ValueError(message)
    subject = forced_subject(
        lm,
        lm.tokens_of(PRESETS[settings.preset]),
        names_of(golds),
        golds,
        name=settings.shape,
        decoders=settings.decoders,
        lang=lang,
    )
    return [subject], golds


def _choose_texts(
    settings: BenchmarkSettings, corpus: list[GoldText], lm: LanguageModel
) -> list[GoldText]:
    if settings.labels is not None:
        corpus = with_labels(corpus, settings.labels)
    if settings.long is None:
        return choose(corpus, settings.texts)

    def tokens(text: str) -> int:
        return len(lm.tokenizer(text, add_special_tokens=False)["input_ids"])

    return join(corpus, size=settings.long, count=settings.texts, tokens=tokens)


def make_peers(settings: BenchmarkSettings, golds: list[GoldText]) -> dict[str, Any]:
    """Make spaCy's pipes to compare with, by name.

    settings (BenchmarkSettings): The settings.
    golds (list[GoldText]): The texts that they are initialized or trained with.
    """
    names = [name for name in settings.peers if name != CLASSIFIER]
    if not names:
        return {}
    from spacy_padellm.benchmark.peers.spacy_pipes import make_peer

    return {
        name: make_peer(
            name,
            golds,
            lang=settings.lang,
            steps=settings.train_peers,
            seed=settings.seed,
        )
        for name in names
    }


def peer_entry(name: str, kind: str, *, nlp: Any) -> Entry:
    """A pipe of spaCy, or what has its `pipe`, as something to measure.

    name (str): Its name in the tables.
    kind (str): See `Entry`.
    nlp (spacy.language.Language): The pipeline.
    """

    def stream(texts: Sequence[str]) -> None:
        for _ in nlp.pipe(texts):
            pass

    return Entry(name, kind, nlp, stream)


def classifier_entry(
    settings: BenchmarkSettings, golds: list[GoldText], *, lm: LanguageModel
) -> Entry:
    """A token classifier to compare with.

    settings (BenchmarkSettings): The settings.
    golds (list[GoldText]): The texts that it is made for.
    lm (LanguageModel): Has the device and the dtype.
    """
    from spacy_padellm.benchmark.peers.token_classifier import TokenClassifier

    classifier = TokenClassifier(
        [gold.text for gold in golds],
        len(names_of(golds)),
        device=lm.device,
        dtype=lm.dtype,
        seed=settings.seed,
    )
    return peer_entry("token classifier", CLASSIFIER, nlp=classifier)


def words_in(texts: list[str], *, lang: str | None) -> int:
    """Count the tokens of spaCy's tokenizer; without spaCy, split at whitespace.

    texts (list[str]): The texts.
    lang (str | None): spaCy's language code; None if spaCy is not installed.
    """
    if lang is None:
        return sum(len(text.split()) for text in texts)
    from spacy_padellm.benchmark.subjects.pipelines import count_words

    return count_words(texts, lang=lang)
