"""`spacy padellm annotate --ray`: same output as without Ray, even after kills."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from uuid import uuid4

import pytest

pytest.importorskip("ray")

import pyarrow as pa
from annotate_helpers import (
    annotate,
    contents,
    finish,
    kill,
    processes_with,
    shards,
    some_texts,
    start,
    wait_for,
    write_parquet,
)
from helpers import trained_folder

from spacy_padellm.annotate import output as outputs, run_ray
from spacy_padellm.annotate.files import find_inputs
from spacy_padellm.annotate.pipeline import fingerprint
from spacy_padellm.annotate.plan import Shard
from spacy_padellm.annotate.records import RowRange
from spacy_padellm.annotate.run_ray import AnnotateShards, count_attempt
from spacy_padellm.annotate.worker import Job

pytestmark = pytest.mark.slow

ACTOR = "MapBatches(AnnotateShards)"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts: list[str | None] = [text * 3 for text in some_texts(400)]
    texts[7] = texts[222] = None
    return write_parquet(tmp_path_factory.mktemp("corpus") / "in.parquet", texts)


@pytest.fixture(scope="module")
def without_ray(
    source: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("without") / "out"
    code, words = annotate(*command(source, output))
    assert code == 3, words
    return contents(output)


def command(source: Path, output: Path) -> tuple[object, ...]:
    options = ("--shard-size", 20, "--keep-columns", "id")
    return (trained_folder(), source, "--output", output, *options)


ON_RAY = ("--ray", "local", "--workers", 2)


def test_annotate_ray_gives_the_same_though_a_worker_is_killed(
    source: Path, without_ray: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    mark = uuid4().hex
    variables = {"RAY_USAGE_STATS_ENABLED": "0", "PADELLM_TEST": mark}
    process = start(*command(source, output), *ON_RAY, **variables)
    wait_for(lambda: len(shards(output)) >= 2, process)
    victims = processes_with(ACTOR, environment=mark)
    assert victims
    os.kill(victims[0], signal.SIGKILL)
    assert len(shards(output)) < 20
    code, words = finish(process)
    assert code == 3, words
    assert contents(output) == without_ray
    assert not {"attempts", "unfinished"} & {path.name for path in output.iterdir()}


def test_annotate_ray_goes_on_after_the_command_is_killed(
    source: Path, without_ray: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    variables = {"RAY_USAGE_STATS_ENABLED": "0"}
    process = start(*command(source, output), *ON_RAY, **variables)
    wait_for(lambda: len(shards(output)) >= 2, process)
    kill(process)
    assert len(shards(output)) < 20
    # the output is the same with and without Ray
    code, words = annotate(*command(source, output))
    assert code == 3, words
    assert contents(output) == without_ray


def test_annotate_ray_cluster_that_is_not_there(source: Path, tmp_path: Path) -> None:
    variables = {"RAY_USAGE_STATS_ENABLED": "0"}
    options = ("--ray", "127.0.0.1:1")
    process = start(*command(source, tmp_path / "out"), *options, **variables)
    code, words = finish(process)
    assert code == 1
    assert "Check that a cluster is running at the address '127.0.0.1:1'" in words


def test_annotate_ray_attempt_lists_those_of_its_shard_alone(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[set[str]] = []

    def list_names(folder: str) -> set[str]:
        listed.append(outputs.list_names(folder))
        return listed[-1]

    monkeypatch.setattr(run_ray, "list_names", list_names)
    file = find_inputs([str(source)], output=str(tmp_path))[0]
    found = [
        count_attempt(str(tmp_path), Shard(index, file, RowRange(0, 5)))
        for index in (0, 1, 0, 2, 0)
    ]
    assert found == [1, 1, 2, 1, 3]
    assert list(map(len, listed)) == found


def ask_actor(source: Path, output: Path, *, pipeline_hash: str) -> dict[str, list]:
    """Return an actor's result for the first shard."""
    job = Job(
        pipeline=str(trained_folder()),
        fingerprint=pipeline_hash,
        output=str(output),
        lease="",
        manifest="",
        output_format="parquet",
        text_column="text",
        columns=pa.schema([]),
    )
    shard = Shard(0, find_inputs([str(source)], output=str(output))[0], RowRange(0, 5))
    for _ in range(3):
        count_attempt(str(output), shard)
    (answer,) = AnnotateShards(job, [shard])(pa.table({"item": [0]}))
    return answer


def test_annotate_ray_shard_started_too_often_fails(
    source: Path, tmp_path: Path
) -> None:
    pipeline_hash = fingerprint(trained_folder())
    answer = ask_actor(source, tmp_path, pipeline_hash=pipeline_hash)
    assert answer["stop"] == [""]
    assert "its worker died 3 times" in answer["failed"][0]
    assert shards(tmp_path) == []


def test_annotate_ray_worker_with_another_pipeline_stops_the_run(
    source: Path, tmp_path: Path
) -> None:
    answer = ask_actor(source, tmp_path, pipeline_hash="another")
    assert "A worker found another pipeline under the name" in answer["stop"][0]
    assert shards(tmp_path) == []
