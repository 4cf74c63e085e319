"""Run a pipe over gold Docs and record the output of its decoder."""

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
from spacy_padellm.text.windows import Window

_BATCH_SIZE = 256  # Docs that are in memory at once


@dataclass(frozen=True, slots=True)
class AnalysedDoc:
    """A gold Doc with the predictions of a pipe.

    labels (list[str]): The labels to analyse in this Doc.
    windows (list[WindowCase]): The windows with the generated mentions whose score is
        at or above the threshold.
    scored (list[tuple[str, float, bool]]): The label and score of each final span, and
        whether it is a gold mention.
    cut (int): The number of gold mentions that are in no window completely.
    """

    labels: list[str]
    windows: list[WindowCase]
    scored: list[tuple[str, float, bool]]
    cut: int


@dataclass(frozen=True, slots=True)
class FailedDoc:
    """A gold Doc that could not be decoded, and the error."""

    text: str
    error: Exception


def collect_docs(
    nlp: Language,
    pipe: PaDeLLMNER,
    golds: Iterable[GoldDoc],
    *,
    labels: Sequence[str],
) -> Iterator[AnalysedDoc | FailedDoc]:
    """Run a pipe, and the pipes before it, over gold Docs.

    All labels of the pipe are decoded, because de-duplication compares their mentions.

    nlp (Language): The pipeline; it tokenizes the texts.
    pipe (PaDeLLMNER): The component of the pipeline.
    golds (Iterable[GoldDoc]): The gold Docs.
    labels (Sequence[str]): The labels whose mentions are kept in the Docs that
        annotate them.
    YIELDS (AnalysedDoc | FailedDoc): One per gold Doc, in order.
    """
    names = [name for name, _ in nlp.pipeline]
    index = next(i for i, (_, proc) in enumerate(nlp.pipeline) if proc is pipe)
    for batch in minibatch(golds, size=_BATCH_SIZE):
        texts = [gold.text for gold in batch]
        docs = list(nlp.pipe(texts, disable=names[index:]))
        errors: dict[int, Exception] = {}
        with _recording(pipe, errors) as recorded:
            # annotates the Docs in place; the stream leaves out Docs that fail
            for _ in pipe.pipe(docs):
                pass
        for gold, doc in zip(batch, docs, strict=True):
            if id(doc) in errors:
                yield FailedDoc(gold.text, errors[id(doc)])
            else:
                yield _analyse_doc(
                    doc, gold, pipe=pipe, recorded=recorded, labels=labels
                )


def _analyse_doc(
    doc: Doc,
    gold: GoldDoc,
    *,
    pipe: PaDeLLMNER,
    recorded: dict[str, list[Mention]],
    labels: Sequence[str],
) -> AnalysedDoc:
    labels = [label for label in labels if gold.annotates(label)]
    windows = pipe.make_windows([doc])
    calibration, lowest_score = pipe.calibration, pipe.lowest_scores()
    cases = []
    covered: set[GoldMention] = set()
    for window, own in zip(windows, _own_golds(windows, gold.mentions), strict=True):
        covered |= own
        mentions = [
            mention
            for mention in recorded[normalize_text(window.text)]
            if mention.label in labels
            and calibration(mention.score) >= lowest_score(mention.label)
        ]
        cases.append(_window_case(window, gold.mentions, own, mentions=mentions))
    right = set(gold.mentions)
    attrs = doc.spans[pipe.cfg["spans_key"]].attrs
    scored = [
        (label, float(score), GoldMention(start, end, label) in right)
        for (start, end, label), score in zip(
            attrs["places"], attrs["scores"], strict=True
        )
        if label in labels
    ]
    return AnalysedDoc(labels, cases, scored, len(right - covered))


def _window_case(
    window: Window,
    golds: Sequence[GoldMention],
    own: set[GoldMention],
    *,
    mentions: list[Mention],
) -> WindowCase:
    """A window with the Doc's gold mentions in it; those in `own` count there."""
    first = window.start
    moved = {
        m: GoldMention(m.start - first, m.end - first, m.label)
        for m in _golds_inside(window, golds)
    }
    start, end = window.start_range
    return WindowCase(
        text=window.text,
        tokens=[
            (token.idx - first, token.idx - first + len(token)) for token in window.span
        ],
        golds=list(moved.values()),
        mentions=mentions,
        start_range=(start - first, end - first),
        elsewhere=frozenset(moved[m] for m in moved if m not in own),
        cut=frozenset(_cut_parts(window, golds)) - {*moved.values()},
    )


def _own_golds(
    windows: Sequence[Window], golds: Sequence[GoldMention]
) -> list[set[GoldMention]]:
    """For each window, the gold mentions that count there: each of them counts once."""
    inside = [_golds_inside(window, golds) for window in windows]
    owned = [
        {m for m in found if window.start_range[0] <= m.start < window.start_range[1]}
        for window, found in zip(windows, inside, strict=True)
    ]
    counted = {mention for own in owned for mention in own}
    for own, found in zip(owned, inside, strict=True):
        # a mention that its own window cuts is in the next one completely
        own |= set(found) - counted
        counted |= own
    return owned


def _golds_inside(window: Window, mentions: Sequence[GoldMention]) -> list[GoldMention]:
    """The gold mentions that are in a window completely, as in training."""
    end = window.start + len(window.text)
    return [m for m in mentions if window.start <= m.start and m.end <= end]


def _cut_parts(
    window: Window, mentions: Sequence[GoldMention]
) -> Iterator[GoldMention]:
    """The parts, in a window, of gold mentions that its edges cut."""
    last = len(window.text)
    for mention in mentions:
        start, end = mention.start - window.start, mention.end - window.start
        if start < last and end > 0 and (start < 0 or end > last):
            part = window.text[max(start, 0) : min(end, last)]
            first = max(start, 0) + len(part) - len(part.lstrip())
            if part := part.strip():
                yield GoldMention(first, first + len(part), mention.label)


@contextmanager
def _recording(
    pipe: PaDeLLMNER, errors: dict[int, Exception]
) -> Iterator[dict[str, list[Mention]]]:
    """Record the mentions that a pipe's decoder generates, and the Docs that fail.

    errors (dict[int, Exception]): Filled with the error of each failed Doc, by `id`.
    YIELDS (dict[str, list[Mention]]): Filled with the mentions of each text.
    """
    handler = pipe.get_error_handler()
    recorder = Recorder(pipe.decoder)

    def record_error(name: str, proc: Any, docs: list[Doc], error: Exception) -> None:
        errors.update((id(doc), error) for doc in docs)

    pipe.decoder = recorder
    pipe.set_error_handler(record_error)
    try:
        yield recorder.found
    finally:
        pipe.decoder = recorder.decoder
        pipe.set_error_handler(handler)
