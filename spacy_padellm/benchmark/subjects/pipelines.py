"""Pipelines with the component, and their Docs (needs spaCy)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from spacy.util import filter_spans
from spacy.vocab import Vocab

from spacy_padellm.errors import Errors
from spacy_padellm.factory_name import FACTORY
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.pipeline.pipe import PaDeLLMNER
from spacy_padellm.pipeline.scorer import ner_score
from spacy_padellm.prompt.template import Prompt
from spacy_padellm.text.normalize import normalize_text

SPANS_KEY = "padellm"


def read_corpus(path: Path, vocab: Vocab) -> list[Doc]:
    """Read the Docs of a .spacy corpus."""
    return list(DocBin().from_disk(path).get_docs(vocab))


def gold_text_of(doc: Doc) -> GoldText:
    """A Doc's text with its mentions by label, in text order."""
    mentions: dict[str, list[str]] = {}
    for span in gold_mentions(doc):
        mentions.setdefault(span.label_, []).append(span.text)
    return GoldText(doc.text, mentions)


def gold_mentions(doc: Doc) -> list[Span]:
    """A Doc's gold mentions in text order, including nested ones."""
    spans = doc.spans.get(SPANS_KEY, doc.ents)
    return sorted(spans, key=lambda span: (span.start_char, span.end_char))


def forced_pipeline(
    lm: LanguageModel,
    prompt: Prompt,
    labels: dict[str, str],
    *,
    lang: str,
) -> Language:
    """Make a pipeline that runs a model on texts without windows.

    lm (LanguageModel): The model.
    prompt (Prompt): The prompt.
    labels (dict[str, str]): Label -> its name in the prompt.
    lang (str): The language.
    """
    nlp = spacy.blank(lang)
    config = {
        "model": {"@architectures": "spacy-padellm.SmallCausalLM.v1"},
        "labels": labels,
        "span_getter": {"@span_getters": "spacy-padellm.doc_spans.v1"},
        "dedup": "off",
    }
    nlp.add_pipe(FACTORY, config=config)
    pipe = pipe_of(nlp)
    pipe.handle.use(lm)
    pipe._task.prompt = prompt
    return nlp


def load_placed_pipeline(
    name: str, *, lang: str, device: str | None, dtype: str | None
) -> Language:
    """Load a trained pipeline, or make a pipeline for a trained model.

    name (str): A pipeline's package or folder, a model's folder or hub name, or a
        bundled model.
    lang (str): The language of a new pipeline.
    device, dtype (str | None): The model's device and dtype; None keeps the configured
        ones.
    RAISES (ValueError): If a pipeline has no `padellm_ner`, or a model does not say
        what it was trained for.
    """
    placement = {"device": device, "dtype": dtype}
    placed = {key: value for key, value in placement.items() if value is not None}
    if spacy.util.is_package(name) or (Path(name) / "meta.json").is_file():
        keys = {f"components.{FACTORY}.model.{key}": v for key, v in placed.items()}
        nlp = spacy.load(name, config=keys)
        if FACTORY not in nlp.pipe_names:
            raise ValueError(Errors.P168.format(name=name))
        return nlp
    nlp = spacy.blank(lang)
    architecture = {"@architectures": "spacy-padellm.CausalLM.v1", "name": name}
    nlp.add_pipe(FACTORY, config={"model": {**architecture, **placed}})
    handle = pipe_of(nlp).handle
    if handle.hub_settings() is None:
        handle.check()  # a missing model is the better message
        raise ValueError(Errors.P168.format(name=name))
    return nlp


def pipe_of(nlp: Language) -> PaDeLLMNER:
    """The pipeline's component."""
    pipe = nlp.get_pipe(FACTORY)
    assert isinstance(pipe, PaDeLLMNER)
    return pipe


def count_words(texts: Sequence[str], *, lang: str) -> int:
    """Count the tokens of spaCy's tokenizer."""
    nlp = spacy.blank(lang)
    return sum(len(nlp.make_doc(text)) for text in texts)


def gold_docs(path: Path | None, golds: Sequence[GoldText], *, lang: str) -> list[Doc]:
    """Gold Docs of texts, from their corpus or made by `search_mentions`.

    path (Path | None): The .spacy corpus of the texts; None if there is none.
    golds (Sequence[GoldText]): The texts and their gold mentions.
    lang (str): The language.
    """
    nlp = spacy.blank(lang)
    docs = [] if path is None else read_corpus(path, nlp.vocab)
    known = {normalize_text(doc.text): doc for doc in docs}
    return [known.get(gold.text) or search_mentions(nlp, gold) for gold in golds]


def search_mentions(nlp: Language, gold: GoldText) -> Doc:
    """Make a Doc with the mentions; equal strings get successive occurrences.

    nlp (Language): Its tokenizer makes the Doc.
    gold (GoldText): The text and its mentions.
    """
    doc = nlp.make_doc(gold.text)
    spans = []
    for label, mentions in gold.mentions.items():
        searched: dict[str, int] = {}
        for mention in mentions:
            start = gold.text.find(mention, searched.get(mention, 0))
            if start < 0:
                continue
            searched[mention] = end = start + len(mention)
            span = doc.char_span(start, end, label=label, alignment_mode="expand")
            if span is not None:
                spans.append(span)
    doc.spans[SPANS_KEY] = spans
    doc.set_ents(filter_spans(spans))
    return doc


def score(nlp: Language, docs: Sequence[Doc]) -> dict[str, Any]:
    """Span F1 and string F1 of a pipeline.

    nlp (Language): The pipeline.
    docs (Sequence[Doc]): Gold Docs; the pipeline gets their texts.
    """
    found = list(nlp.pipe([doc.text for doc in docs]))
    labels = {span.label_ for doc in found for span in gold_mentions(doc)}
    for doc in docs:
        for label in labels:  # spaCy makes spans of them in the gold Docs
            doc.vocab.strings.add(label)
    examples = [Example(*pair) for pair in zip(found, docs, strict=True)]
    scores = ner_score(examples, spans_key=SPANS_KEY)
    return {key: scores[key] for key in ("ents_f", "strings_f")}
