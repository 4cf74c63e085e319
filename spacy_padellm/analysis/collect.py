"""Runs a pipe over gold Docs, and keeps what its decoder gave."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import minibatch

from spacy_padellm.analysis.inputs import GoldDoc
from spacy_padellm.analysis.kinds import GoldMention, WindowCase
from spacy_padellm.decoding.recorder import Recorder
from spacy_padellm.mention.mention import Mention
from spacy_padellm.pipeline.pipe import PaDeLLMNER
from spacy_padellm.text.normalize import normalize_text
from spacy_padellm.text.windows import Window, make_windows

BATCH_SIZE = 256


@dataclass(frozen=True, slots=True)
class ReadDoc:
    """What a pipe made of a gold Doc.

    labels (list[str]): The labels that were looked at.
    windows (list[WindowCase]): What the model read and gave, over the thresholds.
    scored (list[tuple[str, float, bool]]): Label and score of each final span, and
        whether it is a gold mention.
    cut (int): Gold mentions that no window holds as a whole.
    """

    labels: list[str]
    windows: list[WindowCase]
    scored: list[tuple[str, float, bool]]
    cut: int


@dataclass(frozen=True, slots=True)
class FailedDoc:
    """A gold Doc that could not be decoded, and why."""

    text: str
    error: Exception


def collect_docs(
    nlp: Language,
    pipe: PaDeLLMNER,
    golds: Iterable[GoldDoc],
    *,
    labels: Sequence[str],
) -> Iterator[ReadDoc | FailedDoc]:
    """Run a pipe, and the pipes before it, over gold Docs.

    All labels of the pipe are decoded, as de-duplication compares them.

    nlp (Language): The pipeline; it tokenises the texts.
    pipe (PaDeLLMNER): Its component.
    golds (Iterable[GoldDoc]): The gold Docs.
    labels (Sequence[str]): The labels whose mentions to keep, where a Doc annotates
        them.
    YIELDS (ReadDoc | FailedDoc): For each gold Doc, in order.
    """
    names = [name for name, _ in nlp.pipeline]
    place = next(i for i, (_, proc) in enumerate(nlp.pipeline) if proc is pipe)
    for batch in minibatch(golds, size=BATCH_SIZE):
        texts = [gold.text for gold in batch]
        docs = list(nlp.pipe(texts, disable=names[place:]))
        errors: dict[int, Exception] = {}
        with _watched(pipe, errors) as recorded:
            # the Docs are annotated in place; those that fail are left out
            for _ in pipe.pipe(docs):
                pass
        for gold, doc in zip(batch, docs, strict=True):
            if id(doc) in errors:
                yield FailedDoc(gold.text, errors[id(doc)])
            else:
                yield _read(doc, gold, pipe=pipe, recorded=recorded, labels=labels)


def _read(
    doc: Doc,
    gold: GoldDoc,
    *,
    pipe: PaDeLLMNER,
    recorded: dict[str, list[Mention]],
    labels: Sequence[str],
) -> ReadDoc:
    labels = [label for label in labels if gold.annotates(label)]
    cases = []
    held: set[GoldMention] = set()
    for window in make_windows([doc], pipe.span_getter):
        inside = _inside(window, gold.mentions)
        held.update(inside)
        cases.append(
            WindowCase(
                text=window.text,
                tokens=[
                    (token.idx - window.start, token.idx - window.start + len(token))
                    for token in window.span
                ],
                golds=[
                    GoldMention(m.start - window.start, m.end - window.start, m.label)
                    for m in inside
                ],
                mentions=[
                    mention
                    for mention in recorded[normalize_text(window.text)]
                    if mention.label in labels
                    and pipe.calibration(mention.score)
                    >= pipe.lowest_score(mention.label)
                ],
            )
        )
    right = set(gold.mentions)
    attrs = doc.spans[pipe.cfg["spans_key"]].attrs
    scored = [
        (label, float(score), GoldMention(start, end, label) in right)
        for (start, end, label), score in zip(
            attrs["places"], attrs["scores"], strict=True
        )
        if label in labels
    ]
    return ReadDoc(labels, cases, scored, len(right - held))


def _inside(window: Window, mentions: Sequence[GoldMention]) -> list[GoldMention]:
    """The gold mentions that a window holds as a whole, as in training."""
    end = window.start + len(window.text)
    return [m for m in mentions if window.start <= m.start and m.end <= end]


@contextmanager
def _watched(
    pipe: PaDeLLMNER, errors: dict[int, Exception]
) -> Iterator[dict[str, list[Mention]]]:
    """Note what a pipe's decoder gives, and which Docs fail.

    errors (dict[int, Exception]): Gets the error of each Doc that fails, by its id.
    YIELDS (dict[str, list[Mention]]): Gets the mentions of each text.
    """
    handler = pipe.get_error_handler()
    recorder = Recorder(pipe.decoder)

    def note(name: str, proc: Any, docs: list[Doc], error: Exception) -> None:
        errors.update((id(doc), error) for doc in docs)

    pipe.decoder = recorder
    pipe.set_error_handler(note)
    try:
        yield recorder.found
    finally:
        pipe.decoder = recorder.decoder
        pipe.set_error_handler(handler)
