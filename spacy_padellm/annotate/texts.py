"""Run a pipeline over texts, some of which may fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.annotate.files import AnnotateError
from spacy_padellm.annotate.pipeline import PROBE
from spacy_padellm.annotate.records import InputRecord
from spacy_padellm.compat.spacy import doc_context
from spacy_padellm.error_words import words_of
from spacy_padellm.errors import Errors
from spacy_padellm.text.tokenizing import TokenizingError, tokenize

_PROBE_ROW = -1


def annotate_texts(
    nlp: Language,
    records: list[InputRecord],
    *,
    keep: Callable[[Doc], object],
    report: Callable[[int], None],
) -> tuple[dict[int, object], dict[int, str]]:
    """Run the pipeline over texts. Texts that fail in a batch are tried again alone.

    nlp (Language): The pipeline.
    records (list[InputRecord]): The texts, with distinct rows.
    keep (Callable[[Doc], object]): Extracts the part of a Doc that is kept.
    report (Callable[[int], None]): Called with the number of texts done since the
        last call.
    RETURNS (tuple[dict[int, object], dict[int, str]]): Row -> kept part of the Doc, and
        row -> reason for the texts that failed. Each row is in one of the two.
    RAISES (AnnotateError): If a server can no longer be reached, or the pipeline fails
        for a sentence that it could annotate before.
    """
    texts = _Texts(nlp, keep)
    for _ in texts.annotate(records):
        report(1)
    reported = set(texts.kept)
    if texts.reasons or texts.ended:
        texts.check_pipeline()
    # some components drop a whole batch if one of its Docs fails, or report it whole
    for record in records:
        if record.row in texts.reasons or record.row not in texts.kept:
            texts.annotate_alone(record)
            if record.row in texts.unreached:
                texts.check_pipeline()
                texts.annotate_alone(record)
            report(record.row not in reported)
    return texts.kept, texts.reasons


class _Texts:
    """Texts that are annotated, and what became of each, by its row.

    kept (dict[int, object]): The kept part of its Doc.
    reasons (dict[int, str]): Why it failed.
    unreached (set[int]): The rows for which a server could not be reached.
    ended (tuple[str, bool] | None): The error that ended the last pass of the pipeline,
        and whether a server could not be reached. The error itself would keep the Docs.
    """

    def __init__(self, nlp: Language, keep: Callable[[Doc], object]) -> None:
        self._nlp = nlp
        self._keep = keep
        self.kept: dict[int, object] = {}
        self.reasons: dict[int, str] = {}
        self.unreached: set[int] = set()
        self.ended: tuple[str, bool] | None = None
        nlp.set_error_handler(self._note_failure)  # type: ignore[arg-type]  # it returns

    def annotate(self, records: Iterable[InputRecord]) -> Iterator[int]:
        """Annotate texts, until an error ends the pipe; yields the rows of those done.

        RAISES (AnnotateError): If the run cannot continue.
        """
        yield from self._pipe(self._docs(records))

    def annotate_alone(self, record: InputRecord) -> None:
        """Annotate a text again, in a batch of its own."""
        row = record.row
        self.unreached.discard(row)
        self.kept.pop(row, None)
        self.reasons.pop(row, None)
        list(self.annotate([record]))
        self._note_end(row)
        if row not in self.kept:
            self.reasons.setdefault(row, "the pipeline left it out")
        # a component may report a Doc and yield it all the same
        if row in self.reasons:
            self.kept.pop(row, None)

    def check_pipeline(self) -> None:
        """Raise an error if a probe is not annotated either.

        The texts are not the cause then.
        """
        list(self._pipe([(PROBE, _PROBE_ROW)]))
        self._note_end(_PROBE_ROW)
        self.kept.pop(_PROBE_ROW, None)
        reason = self.reasons.pop(_PROBE_ROW, "").rstrip(".")
        if reason:
            away = _PROBE_ROW in self.unreached
            template = Errors.P424 if away else Errors.P782
            raise AnnotateError(template.format(reason=reason))

    def _pipe(self, docs: Iterable[tuple[Doc | str, int]]) -> Iterator[int]:
        """Run the pipeline; an error that ends it is noted in `ended`."""
        self.ended = None
        try:
            for doc, row in self._nlp.pipe(docs, as_tuples=True):
                self.kept[row] = self._keep(doc)
                yield row
        except AnnotateError:
            raise
        except Exception as error:
            self.ended = (_reason(error), isinstance(error, ConnectionError))

    def _note_end(self, row: int) -> None:
        """Note the error that ended the pipe for the only text in it.

        Components of spaCy yield None for a Doc that they reported, which is an error
        further on: the reason that they gave stays.
        """
        if self.ended is not None and row not in self.reasons:
            self.reasons[row], away = self.ended
            if away:
                self.unreached.add(row)

    def _docs(self, records: Iterable[InputRecord]) -> Iterator[tuple[Doc, int]]:
        for record in records:
            doc = record.doc
            try:
                # a copy, as a Doc may be annotated again
                doc = tokenize(self._nlp, record.text) if doc is None else doc.copy()
            except TokenizingError as error:
                self.reasons[record.row] = str(error)
            else:
                yield doc, record.row

    def _note_failure(
        self, name: str, pipe: object, docs: list[Doc | None], error: Exception
    ) -> None:
        for doc in docs:
            if doc is None:  # an earlier component reported it
                continue
            row = doc_context(doc)
            self.reasons[row] = f"{name}: {_reason(error)}"
            if isinstance(error, ConnectionError):
                self.unreached.add(row)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {words_of(error)}"
