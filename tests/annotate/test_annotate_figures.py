"""`benchmarks.annotate`: figures computed from shards' times and memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.annotate.command import running_rate
from benchmarks.annotate.memory import Memory


def finished(folder: Path, times: Sequence[int], *, rows: int) -> Path:
    """Make an output folder whose shards were finished at these times."""
    (folder / "shards").mkdir()
    for place, time in enumerate(times):
        path = folder / "shards" / f"part-{place:06d}.parquet"
        pq.write_table(pa.table({"text": ["x"] * rows}), path)
        os.utime(path, (time, time))
    return folder


def test_annotate_figures_rate_leaves_out_start_and_tail(tmp_path: Path) -> None:
    # two workers, 10 s per shard; the second one starts late and finishes last
    times = [50, 67, 70, 77, 80, 87, 90, 97, 100, 107, 110, 117, 160]
    output = finished(tmp_path, times, rows=100)
    assert running_rate(output, workers=2) == pytest.approx(20, rel=0.1)


def test_annotate_figures_rate_of_too_few_shards(tmp_path: Path) -> None:
    output = finished(tmp_path, [1, 2, 3, 4], rows=10)
    assert running_rate(output, workers=2) is None


def test_annotate_figures_memory_growth_leaves_out_the_warm_up() -> None:
    samples = [(0.0, 100.0), (0.1, 200.0), (0.3, 190.0), (0.6, 230.0), (1.0, 220.0)]
    facts = Memory(peak=250.4, samples=samples).facts()
    assert facts["peak"] == 250
    assert facts["quarters"] == [200, 190, 230, 220]
    assert facts["growth"] == pytest.approx(0.1)


def test_annotate_figures_memory_of_a_process_that_came_late() -> None:
    facts = Memory(peak=1, samples=[(0.9, 1.0)]).facts()
    assert facts["quarters"] == [None, None, None, 1]
    assert facts["growth"] is None
