"""What a worker does: annotates one shard after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from spacy.language import Language
from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_padellm.annotate.docs import read_docbin
from spacy_padellm.annotate.files import ShardError, reading
from spacy_padellm.annotate.lines import read_jsonl, read_text
from spacy_padellm.annotate.output import exists, shard_path, whole_file, write_rejected
from spacy_padellm.annotate.pipeline import PROBE, log_once
from spacy_padellm.annotate.plan import Shard
from spacy_padellm.annotate.records import BadRecord, InputRecord
from spacy_padellm.annotate.tables import read_parquet
from spacy_padellm.annotate.writers import WRITERS, Annotated, columns_of
from spacy_padellm.errors import Errors
from spacy_padellm.lm.memory import release_free_memory

# what is in memory at a time
BATCH_TEXTS = 2000
BATCH_CHARS = 2_000_000
# so many texts do not fail one after the other for what they are
TOO_MANY_FAILED = 10
_PROBE_ROW = -1


@dataclass(frozen=True, slots=True)
class Job:
    """What all workers of a run must know.

    pipeline (str): The pipeline's folder or package.
    fingerprint (str): The hash of its content.
    output (str): The output folder.
    output_format (str): "parquet" or "spacy".
    text_column (str): Where the text is.
    columns (pa.Schema): The columns to keep.
    """

    pipeline: str
    fingerprint: str
    output: str
    output_format: str
    text_column: str
    columns: pa.Schema


def annotate_shard(
    nlp: Language,
    job: Job,
    shard: Shard,
    *,
    report: Callable[[int], None] = lambda texts: None,
) -> None:
    """Annotate a shard, unless it is done, and write its file.

    nlp (Language): The pipeline.
    job (Job): The run.
    shard (Shard): The shard.
    report (Callable[[int], None]): Is told how many more texts were read.
    RAISES (ShardError): If the file cannot be read, or every text failed.
    RAISES (AnnotateError): If nothing can be written.
    """
    path = shard_path(job.output, shard, job.output_format)
    if exists(path):
        report(shard.rows)
        return
    bad: list[BadRecord] = []
    # what a shard adds to the vocabulary goes with it: memory stays flat
    with whole_file(job.output, path) as file, nlp.memory_zone(), log_once():
        records = read_records(job, shard, nlp.vocab)
        batches = _annotated(nlp, job, shard, records, bad=bad, report=report)
        WRITERS[job.output_format].write(file, batches, job.columns)
        # before the shard has its name: from then on it is done
        write_rejected(job.output, shard, bad)
    # tensors of many sizes leave the heap in pieces, which would add up
    release_free_memory()


def read_records(
    job: Job, shard: Shard, vocab: Vocab
) -> Iterator[InputRecord | BadRecord]:
    """Read a shard's rows.

    RAISES (ShardError): If the file cannot be read.
    """
    path, cut = shard.path, shard.cut
    with reading(path):
        if shard.format == "text":
            yield from read_text(path, cut)
        elif shard.format == "spacy":
            yield from read_docbin(path, cut, vocab)
        else:
            read = read_parquet if shard.format == "parquet" else read_jsonl
            yield from read(path, cut, text_column=job.text_column, columns=job.columns)


def _annotated(
    nlp: Language,
    job: Job,
    shard: Shard,
    records: Iterable[InputRecord | BadRecord],
    *,
    bad: list[BadRecord],
    report: Callable[[int], None],
) -> Iterator[list[Annotated]]:
    """Annotate records in batches; what fails is added to `bad`."""
    keep = WRITERS[job.output_format].keep
    texts = failed = 0
    for batch in _batches(records, bad):
        kept, reasons = annotate_texts(nlp, batch, keep=keep, report=report)
        for record in batch:
            if record.row in reasons:
                content = {"text": record.text, **columns_of(record, job.columns)}
                bad.append(BadRecord(record.row, reasons[record.row], content))
        texts += len(batch)
        failed += len(reasons)
        yield [(r, kept[r.row]) for r in batch if r.row in kept]
    report(shard.rows - texts)
    if failed == texts >= TOO_MANY_FAILED:
        # this is not about single texts: a broken GPU must not reject a corpus
        reason = bad[-1].reason
        raise ShardError(Errors.P420.format(texts=texts, reason=reason))


def _batches(
    records: Iterable[InputRecord | BadRecord], bad: list[BadRecord]
) -> Iterator[list[InputRecord]]:
    """Gather good records in batches of bounded size, and the bad ones apart."""
    batch: list[InputRecord] = []
    chars = 0
    for record in records:
        if isinstance(record, BadRecord):
            bad.append(record)
            continue
        batch.append(record)
        chars += len(record.text)
        if len(batch) == BATCH_TEXTS or chars >= BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def annotate_texts(
    nlp: Language,
    records: list[InputRecord],
    *,
    keep: Callable[[Doc], object],
    report: Callable[[int], None],
) -> tuple[dict[int, object], dict[int, str]]:
    """Run the pipeline over texts.

    nlp (Language): The pipeline.
    records (list[InputRecord]): The texts, each with a row of its own.
    keep (Callable[[Doc], object]): What is kept of a Doc.
    report (Callable[[int], None]): Is told how many more texts were read.
    RETURNS (tuple[dict[int, object], dict[int, str]]): Row -> what was kept, and
        row -> reason of those that failed.
    RAISES (ShardError): If a server cannot be reached any more.
    """
    kept: dict[int, object] = {}
    reasons: dict[int, str] = {}
    unreached: set[int] = set()  # rows for which a server could not be reached

    def note(name: str, pipe: object, docs: list[Doc], error: Exception) -> None:
        for doc in docs:
            reasons[doc._context] = f"{name}: {type(error).__name__}: {error}"
            if isinstance(error, ConnectionError):
                unreached.add(doc._context)

    def docs_of(records: Iterable[InputRecord]) -> Iterator[tuple[Doc, int]]:
        for record in records:
            try:
                doc = nlp.make_doc(record.text) if record.doc is None else record.doc
                yield doc, record.row
            except Exception as error:  # any tokenizer may fail
                reasons[record.row] = f"tokenizer: {type(error).__name__}: {error}"

    nlp.set_error_handler(note)  # type: ignore[arg-type]  # it may return
    for doc, row in nlp.pipe(docs_of(records), as_tuples=True):
        kept[row] = keep(doc)
        report(1)

    def alone(record: InputRecord) -> None:
        unreached.discard(record.row)
        reasons[record.row] = "the pipeline left it out"
        for doc, row in nlp.pipe(docs_of([record]), as_tuples=True):
            kept[row] = keep(doc)
            del reasons[row]

    # some components give up a whole batch for one of its Docs
    for record in records:
        if record.row not in kept:
            alone(record)
            report(1)
    if unreached:
        # not about these texts, if the server answers no other one either
        list(nlp.pipe([(PROBE, _PROBE_ROW)], as_tuples=True))
        if _PROBE_ROW in unreached:
            raise ShardError(Errors.P424.format(reason=reasons[_PROBE_ROW]))
        for record in records:
            if record.row in unreached:
                alone(record)
    return kept, reasons
