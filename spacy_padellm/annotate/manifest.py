"""The manifest, which identifies a run, so that only the same run resumes it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import spacy

from spacy_padellm import __version__
from spacy_padellm.annotate.files import AnnotateError, InputFile, open_fs
from spacy_padellm.annotate.output import (
    LEASE,
    MANIFEST,
    SHARDS,
    UNFINISHED,
    atomic_file,
    create_file,
    exists,
    list_names,
    wrap_write_errors,
)
from spacy_padellm.annotate.plan import Plan, Shard
from spacy_padellm.annotate.records import RowRange
from spacy_padellm.errors import Errors

# what reading values of other types than those that were written may raise
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


def package_versions() -> dict[str, str]:
    """The versions of this package and of spaCy."""
    return {"spacy-padellm": __version__, "spacy": spacy.__version__}


@dataclass(frozen=True, slots=True)
class Identity:
    """The properties that two runs must share to produce the same shards.

    pipeline (str): The hash of the pipeline's files.
    text_column (str): The column with the text.
    keep_columns (tuple[str, ...]): The columns to keep.
    format (str): The output format.
    added_columns (tuple[str, ...]): The columns of spans that the format adds.
    shard_size (int): The maximum number of rows per shard.
    inputs (tuple[InputFile, ...]): The input files, in order.
    versions (dict[str, str]): The versions of the packages that find the entities.
    """

    pipeline: str
    text_column: str
    keep_columns: tuple[str, ...]
    format: str
    added_columns: tuple[str, ...]
    shard_size: int
    inputs: tuple[InputFile, ...]
    versions: dict[str, str] = field(default_factory=package_versions)


def open_run(output: str, identity: Identity, make_plan: Callable[[], Plan]) -> Plan:
    """Start a run, or resume the run of the output folder.

    output (str): The output folder; created if it is missing.
    identity (Identity): The identity of the run.
    make_plan (Callable[[], Plan]): Inspects all inputs; called for a new run only.
    RETURNS (Plan): The shards of the run.
    RAISES (AnnotateError): If the folder belongs to another run, or cannot be written.
    """
    path = f"{output}/{MANIFEST}"
    if not exists(path):
        names = list_names(output) - {UNFINISHED, LEASE}
        if names:
            error = f"it holds {min(names)}"
            raise AnnotateError(Errors.P413.format(path=output, error=error))
        plan = make_plan()
        if not create_file(output, path, _to_json(identity, plan)):
            raise AnnotateError(Errors.P428.format(path=output))
        return plan
    fs, inside = open_fs(path)
    with wrap_write_errors(path):
        content = fs.cat_file(inside)
    try:
        manifest = json.loads(content)
        difference = _describe_difference(manifest["run"], _run_to_json(identity))
        plan = _plan_from(manifest)
    except (*_DAMAGE, pa.ArrowException) as error:
        message = Errors.P413.format(path=output, error=f"{MANIFEST}: {error}")
        raise AnnotateError(message) from error
    if difference:
        if _is_untouched(output):
            plan = make_plan()
            with atomic_file(output, path) as file:
                file.write(_to_json(identity, plan))
            return plan
        raise AnnotateError(Errors.P412.format(path=output, difference=difference))
    return plan


def hash_manifest(output: str) -> str:
    """Hash the manifest of an output folder; empty if there is none."""
    path = f"{output}/{MANIFEST}"
    fs, inside = open_fs(path)
    with wrap_write_errors(path), suppress(FileNotFoundError):
        fs.invalidate_cache()
        return hashlib.sha256(fs.cat_file(inside)).hexdigest()
    return ""


def _is_untouched(output: str) -> bool:
    """Whether a run failed before its first text, so that another run may start."""
    return not any(list_names(f"{output}/{name}") for name in (SHARDS, UNFINISHED))


def _run_to_json(identity: Identity) -> dict[str, Any]:
    """Convert the identity to JSON values."""
    run: dict[str, Any] = json.loads(json.dumps(asdict(identity)))
    return run


def _to_json(identity: Identity, plan: Plan) -> bytes:
    indexes = {file.path: index for index, file in enumerate(identity.inputs)}
    footers = {indexes[shard.path]: shard.footer for shard in plan.shards}
    manifest = {
        "run": _run_to_json(identity),
        "columns": {field.name: str(field.type) for field in plan.columns},
        # the names of the types above are for people; not all can be parsed
        "schema": base64.b64encode(plan.columns.serialize()).decode(),
        "footers": [footers.get(index, "") for index in range(len(indexes))],
        "shards": [
            [
                indexes[shard.path],
                shard.row_range.start,
                shard.row_range.stop,
                shard.row_range.offset,
            ]
            for shard in plan.shards
        ],
    }
    # ASCII, because file names may not be valid Unicode
    return json.dumps(manifest).encode() + b"\n"


def _plan_from(manifest: dict[str, Any]) -> Plan:
    inputs = [InputFile(**file) for file in manifest["run"]["inputs"]]
    # manifests of earlier versions have no footers
    footers = manifest.get("footers", [""] * len(inputs))
    shards = [
        Shard(index, inputs[file], RowRange(*row_range), footers[file])
        for index, (file, *row_range) in enumerate(manifest["shards"])
    ]
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(manifest["schema"])))
    return Plan(shards, schema)


def _describe_difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """Describe the difference between two runs; empty if they are the same."""
    if theirs["pipeline"] != ours["pipeline"]:
        return "it was annotated by another pipeline, or an older state of it"
    for name in ("text_column", "keep_columns", "format", "shard_size"):
        if theirs[name] != ours[name]:
            return f"its {name} is {theirs[name]!r}, not {ours[name]!r}"
    # manifests of earlier versions do not name them
    if theirs.get("added_columns", []) != ours["added_columns"]:
        return "another version began it, whose files have other columns"
    # manifests of earlier versions do not have these either
    for package, version in theirs.get("versions", {}).items():
        if (now := ours["versions"].get(package, version)) != version:
            return (
                f"it was begun with {package} {version}, and {now} is installed (to "
                f"continue it, install that again: pip install '{package}=={version}')"
            )
    before = {file["path"]: file for file in theirs["inputs"]}
    given = {file["path"]: file for file in ours["inputs"]}
    for path in [*before, *given]:
        if path not in given:
            return f"its input {path} is not among those that are given now"
        if path not in before:
            return f"the input {path} is new"
        if before[path] != given[path]:
            return f"the input {path} has changed"
    if theirs["inputs"] != ours["inputs"]:
        return "its inputs are in another order"
    return ""
