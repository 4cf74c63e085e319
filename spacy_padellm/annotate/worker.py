"""Annotate a shard."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, cast

import pyarrow as pa
from spacy.language import Language
from spacy.vocab import Vocab

from spacy_padellm.annotate.docs import read_docbin
from spacy_padellm.annotate.files import (
    AnnotateError,
    ShardError,
    check_file_unchanged,
    wrap_read_errors,
)
from spacy_padellm.annotate.finished import CountedFile, ShardFacts, write_facts
from spacy_padellm.annotate.lease import has_lease
from spacy_padellm.annotate.lines import read_jsonl_records, read_text_records
from spacy_padellm.annotate.manifest import hash_manifest
from spacy_padellm.annotate.output import (
    LEASE,
    atomic_file,
    exists,
    shard_path,
    wrap_write_errors,
    write_rejected,
)
from spacy_padellm.annotate.pipeline import (
    find_pipeline,
    fingerprint,
    load_checked,
    log_once,
)
from spacy_padellm.annotate.plan import Shard
from spacy_padellm.annotate.records import BadRecord, InputRecord
from spacy_padellm.annotate.tables import hash_footer, read_parquet
from spacy_padellm.annotate.texts import annotate_texts
from spacy_padellm.annotate.writers import WRITERS, Annotated, to_json_columns
from spacy_padellm.error_words import words_of
from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.memory import release_free_memory

# the limits of a batch in memory
BATCH_TEXTS = 2000
BATCH_CHARS = 2_000_000
# if all of so many texts fail, the cause is not the texts
TOO_MANY_FAILED = 10


@dataclass(frozen=True, slots=True)
class Job:
    """The settings that all workers of a run share.

    pipeline (str): The pipeline's folder or package.
    fingerprint (str): The hash of the pipeline's files.
    output (str): The output folder.
    lease (str): The lease of the output folder.
    manifest (str): The hash of its manifest.
    output_format (str): "parquet" or "spacy".
    text_column (str): The column with the text.
    columns (pa.Schema): The columns to keep.
    """

    pipeline: str
    fingerprint: str
    output: str
    lease: str
    manifest: str
    output_format: str
    text_column: str
    columns: pa.Schema


def load_job(job: Job) -> Language:
    """Load the pipeline of a run.

    job (Job): The run.
    RAISES (AnnotateError): If it cannot be loaded, or is not the one that the run began
        with.
    """
    nlp = load_checked(job.pipeline)
    # after loading, as it may be replaced meanwhile
    if fingerprint(find_pipeline(job.pipeline)[1]) != job.fingerprint:
        raise AnnotateError(Errors.P419.format(name=job.pipeline))
    return nlp


def annotate_shard(
    nlp: Language,
    job: Job,
    shard: Shard,
    *,
    report: Callable[[int], None] = lambda texts: None,
) -> None:
    """Annotate a shard and write its file, unless the file exists.

    nlp (Language): The pipeline.
    job (Job): The run.
    shard (Shard): The shard.
    report (Callable[[int], None]): Called with the number of texts done since the
        last call.
    RAISES (ShardError): If the input cannot be read, if every text failed, or for an
        error that nobody expected.
    RAISES (AnnotateError): If the output cannot be written or is another run's, if the
        input was changed, or if the pipeline fails for reasons other than the texts.
    """
    try:
        _annotate_shard(nlp, job, shard, report=report)
    except (AnnotateError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a component may even call sys.exit
        message = Errors.P1013.format(
            kind=type(error).__name__,
            error=words_of(error),
            path=shard.path,
            start=shard.row_range.start + 1,
            stop=shard.row_range.stop,
        )
        raise ShardError(message) from error


def _annotate_shard(
    nlp: Language, job: Job, shard: Shard, *, report: Callable[[int], None]
) -> None:
    """As `annotate_shard`, with any error."""
    path = shard_path(job.output, shard, job.output_format)
    if exists(path):
        report(shard.rows)
        return
    check_owned(job)
    check_input(shard)
    bad: list[BadRecord] = []
    # strings that a shard adds to the vocabulary are freed at its end
    with atomic_file(job.output, path) as raw, nlp.memory_zone(), log_once():
        file = CountedFile(raw)
        records = read_records(job, shard, nlp.vocab)
        batches = _annotate_batches(nlp, job, shard, records, bad=bad, report=report)
        WRITERS[job.output_format].write(cast(IO[bytes], file), batches, job.columns)
        check_input(shard)
        check_owned(job)
        # before the shard's file appears, because the shard then counts as done
        rejected = write_rejected(job.output, shard, bad)
        write_facts(job.output, shard, ShardFacts(file.size, file.crc32, rejected))
    # tensors of many sizes fragment the heap, which would grow
    release_free_memory()


def check_owned(job: Job) -> None:
    """Check that the output folder is still this run's.

    job (Job): The run.
    RAISES (AnnotateError): If another run has taken it over, or it is not there.
    """
    with wrap_write_errors(job.output):
        owned = has_lease(job.output, job.lease)
        manifest = hash_manifest(job.output)
        if not manifest and not exists(f"{job.output}/{LEASE}"):
            host = platform.node()
            raise AnnotateError(Errors.P1041.format(path=job.output, host=host))
        if not owned or manifest != job.manifest:
            raise AnnotateError(Errors.P428.format(path=job.output))


def check_input(shard: Shard) -> None:
    """Check that the input of a shard is as it was when the run began.

    shard (Shard): The shard.
    RAISES (AnnotateError): If it was changed.
    RAISES (ShardError): If it cannot be read.
    """
    check_file_unchanged(shard.file)
    if shard.footer:
        with wrap_read_errors(shard.path):
            if hash_footer(shard.path) != shard.footer:
                raise AnnotateError(Errors.P427.format(path=shard.path))


def read_records(
    job: Job, shard: Shard, vocab: Vocab
) -> Iterator[InputRecord | BadRecord]:
    """Read the rows of a shard.

    job (Job): The run.
    shard (Shard): The shard.
    vocab (Vocab): The vocabulary of Docs in the file.
    YIELDS (InputRecord | BadRecord): One for each row.
    RAISES (ShardError): If the file cannot be read.
    """
    path, row_range = shard.path, shard.row_range
    with wrap_read_errors(path):
        if shard.format == "text":
            yield from read_text_records(path, row_range)
        elif shard.format == "spacy":
            yield from read_docbin(path, row_range, vocab)
        else:
            read = read_parquet if shard.format == "parquet" else read_jsonl_records
            records = read(
                path, row_range, text_column=job.text_column, columns=job.columns
            )
            yield from (_checked(record, job) for record in records)


def _checked(record: InputRecord | BadRecord, job: Job) -> InputRecord | BadRecord:
    """A record, rejected if the output cannot hold its columns."""
    if isinstance(record, BadRecord):
        return record
    problem = WRITERS[job.output_format].find_problem(record, job.columns)
    return _rejected(record, job, problem) if problem else record


def _rejected(record: InputRecord, job: Job, reason: str) -> BadRecord:
    """A record that cannot be annotated or written."""
    content = {"text": record.text, **to_json_columns(record, job.columns)}
    return BadRecord(record.row, reason, content)


def _annotate_batches(
    nlp: Language,
    job: Job,
    shard: Shard,
    records: Iterable[InputRecord | BadRecord],
    *,
    bad: list[BadRecord],
    report: Callable[[int], None],
) -> Iterator[list[Annotated]]:
    """Annotate records in batches; records that fail are added to `bad`."""
    keep = WRITERS[job.output_format].keep
    texts = failed = 0
    for batch in _batches(records, bad):
        kept, reasons = annotate_texts(nlp, batch, keep=keep, report=report)
        for record in batch:
            if record.row in reasons:
                bad.append(_rejected(record, job, reasons[record.row]))
        texts += len(batch)
        failed += len(reasons)
        yield [(r, kept[r.row]) for r in batch if r.row in kept]
    report(shard.rows - texts)
    if failed == texts >= TOO_MANY_FAILED:
        # e.g. a broken GPU must not reject a corpus
        reason = bad[-1].reason
        raise ShardError(Errors.P420.format(texts=texts, reason=reason))


def _batches(
    records: Iterable[InputRecord | BadRecord], bad: list[BadRecord]
) -> Iterator[list[InputRecord]]:
    """Group records into batches of limited size; bad ones are added to `bad`."""
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
