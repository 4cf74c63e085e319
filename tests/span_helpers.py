"""What tests of spans share: a text, and Docs with mentions."""

from __future__ import annotations

from typing import Any

import spacy
from spacy.tokens import Doc

from spacy_padellm.mention.mention import ScoredSpan
from spacy_padellm.text.doc_mentions import DocMentions
from spacy_padellm.text.write_mentions import write_mentions

NLP = spacy.blank("en")
TEXT = "The Bank of Paris closed ."


class CountedDoc(Doc):
    """A Doc that counts how often its text is joined from its tokens."""

    joined = 0

    @property
    def text(self) -> str:
        self.joined += 1
        return "".join(token.text_with_ws for token in self)


def scored(
    string: str, label: str = "ORG", score: float = 0.5, *, text: str = TEXT
) -> ScoredSpan:
    start = text.index(string)
    return ScoredSpan(start, start + len(string), label, score, "exact")


def annotated(*spans: ScoredSpan, doc: Doc | None = None, **settings: Any) -> Doc:
    doc = NLP.make_doc(TEXT) if doc is None else doc
    dropped = settings.pop("dropped", [])
    options = {
        "spans_key": "padellm",
        "alignment_mode": "expand",
        "lowest_score": lambda label: 0.0,
        "existing": "overwrite",
    }
    write_mentions(doc, DocMentions(list(spans), dropped), **{**options, **settings})
    return doc


def group(doc: Doc) -> list[tuple[str, str]]:
    return [(span.text, span.label_) for span in doc.spans["padellm"]]


def ents(doc: Doc) -> list[tuple[str, str]]:
    return [(ent.text, ent.label_) for ent in doc.ents]
