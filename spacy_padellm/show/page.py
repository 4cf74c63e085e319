"""Annotated texts as one self-contained HTML page."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.mention.calibration import Promise
from spacy_padellm.pipeline.pipe import PaDeLLMNER
from spacy_padellm.pipeline.tuned import tuned
from spacy_padellm.show.render import displacy_data, render_html

LEAST = 0.05  # the lowest probability of a mention that is shown


@dataclass(frozen=True, slots=True)
class LabelRow:
    """What was found of a label, and what the model expects; see `Expected`."""

    label: str
    found: int
    expected: float
    missed: float


@dataclass(frozen=True, slots=True)
class ShownText:
    """A text on the page.

    markup (Markup): The text with its mentions.
    rows (Sequence[LabelRow]): Its labels.
    dropped (Sequence[str]): Strings that were generated, but are not in the text.
    milliseconds (float): The time that the pipeline took for it.
    """

    markup: Markup
    rows: Sequence[LabelRow]
    dropped: Sequence[str]
    milliseconds: float


def show_texts(nlp: Language, pipe: PaDeLLMNER, texts: Iterable[str]) -> str:
    """Annotate texts, one at a time, and show them, with mentions of low probability.

    nlp (Language): The pipeline.
    pipe (PaDeLLMNER): Its component.
    texts (Iterable[str]): The texts.
    RETURNS (str): The page.
    RAISES (Exception): Any error that the pipeline raises for a text.
    """
    # a promise keeps the mentions that are below the thresholds
    shown_too = replace(
        pipe.tuning,
        thresholds={label: pipe.lowest_score(label) for label in pipe.labels},
        promise=Promise("recall", 0.0, 1.0, dict.fromkeys(pipe.labels, LEAST)),
    )
    shown, words = [], 0
    with tuned(pipe, shown_too):
        for text in texts:
            start = time.perf_counter()
            doc = nlp(text)
            shown.append(_show(doc, pipe, 1000 * (time.perf_counter() - start)))
            words += len(doc)
    seconds = sum(text.milliseconds for text in shown) / 1000
    rate = f"{words / seconds:,.0f}" if seconds else "0"
    environment = Environment(
        loader=PackageLoader("spacy_padellm", "show"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(
        title=f"{pipe.name}: {len(shown)} texts" if len(shown) != 1 else pipe.name,
        facts=f"{words} tokens, {rate} a second, one text at a time",
        texts=shown,
    )


def _show(doc: Doc, pipe: PaDeLLMNER, milliseconds: float) -> ShownText:
    key = pipe.cfg["spans_key"]
    data = displacy_data(doc, labels=pipe.labels, spans_key=key)
    markup = render_html(data, page=False)
    found = Counter(ent.label_ for ent in doc.ents)
    expected = doc._.padellm_expected
    rows = [
        LabelRow(label, found[label], expected[label].count, expected[label].missed)
        for label in pipe.labels
        if label in expected
    ]
    dropped = doc.spans[key].attrs["dropped"] if key in doc.spans else []
    return ShownText(
        Markup(markup),
        rows,
        [f"{mention['text']} ({mention['label']})" for mention in dropped],
        milliseconds,
    )
