"""Pipelines to measure: the component with each decoder (needs spaCy)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from spacy.util import filter_spans

from spacy_padellm.errors import Errors
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.pipeline.pipe import PaDeLLMNER
from spacy_padellm.pipeline.scorer import ner_score
from spacy_padellm.prompt.template import Prompt

FACTORY = "padellm_ner"
SPANS_KEY = "padellm"


def read_corpus(path: Path, *, lang: str) -> list[Doc]:
    """The Docs of a .spacy corpus."""
    return list(DocBin().from_disk(path).get_docs(spacy.blank(lang).vocab))


def gold_text(doc: Doc) -> GoldText:
    """A Doc's text with its mentions by label, in text order."""
    mentions: dict[str, list[str]] = {}
    for span in gold_mentions(doc):
        mentions.setdefault(span.label_, []).append(span.text)
    return GoldText(doc.text, mentions)


def gold_mentions(doc: Doc) -> list[Span]:
    """A Doc's mentions, nested ones too where it has them, in text order."""
    spans = doc.spans.get(SPANS_KEY, doc.ents)
    return sorted(spans, key=lambda span: (span.start_char, span.end_char))


def forced_pipeline(
    lm: LanguageModel,
    prompt: Prompt,
    labels: dict[str, str],
    *,
    lang: str,
) -> Language:
    """A pipeline that reads whole texts with a given model.

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


def load_placed(
    name: str, *, lang: str, device: str | None, dtype: str | None
) -> Language:
    """A trained pipeline, or one around a model.

    name (str): A pipeline's package or folder, a model's folder or hub name, or a
        bundled model.
    lang (str): The language of a pipeline made here.
    device, dtype (str | None): Of the model; None leaves them as configured.
    RAISES (ValueError): If a pipeline has no `padellm_ner`.
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
    return nlp


def pipe_of(nlp: Language) -> PaDeLLMNER:
    """The pipeline's component."""
    pipe = nlp.get_pipe(FACTORY)
    assert isinstance(pipe, PaDeLLMNER)
    return pipe


def count_words(texts: Sequence[str], *, lang: str) -> int:
    """Tokens of spaCy's tokenizer."""
    nlp = spacy.blank(lang)
    return sum(len(nlp.make_doc(text)) for text in texts)


def gold_docs(path: Path | None, golds: Sequence[GoldText], *, lang: str) -> list[Doc]:
    """The texts' own Docs, or Docs in which the mentions are searched.

    path (Path | None): The .spacy corpus that the texts are from, if they are.
    golds (Sequence[GoldText]): The texts and their mentions.
    lang (str): The language.
    """
    docs = [] if path is None else read_corpus(path, lang=lang)
    known = {doc.text: doc for doc in docs}
    nlp = spacy.blank(lang)
    return [known.get(gold.text) or search_mentions(nlp, gold) for gold in golds]


def search_mentions(nlp: Language, gold: GoldText) -> Doc:
    """A Doc with the mentions; the k-th of equal strings is where it stands k-th."""
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

    docs (Sequence[Doc]): Gold Docs; they are read as texts.
    """
    found = nlp.pipe([doc.text for doc in docs])
    examples = [Example(*pair) for pair in zip(found, docs, strict=True)]
    scores = ner_score(examples, spans_key=SPANS_KEY)
    return {key: scores[key] for key in ("ents_f", "strings_f")}
