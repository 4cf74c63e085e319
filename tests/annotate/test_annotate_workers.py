"""`spacy padellm annotate`: what each worker gets of the machine."""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("pyarrow")

import torch

from spacy_padellm.annotate.files import AnnotateError
from spacy_padellm.annotate.pipeline import read_threads
from spacy_padellm.annotate.run_local import check_gpus, choose_gpus

SHARES = [0.1, 0.2, 0.25, 0.3, 1 / 3, 0.4, 0.5, 0.51, 0.7, 1 - 0.9, 1, 1.5, 2, 3]


def gpus_for(workers: int, share: float) -> list[list[str]]:
    return [choose_gpus(number, share) for number in range(workers)]


@pytest.mark.parametrize("share", SHARES)
def test_annotate_workers_take_no_more_of_a_gpu_than_there_is(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    chosen = Counter(gpu for gpus in gpus_for(20, share) for gpu in gpus)
    assert max(chosen.values()) * min(share, 1) <= 1 + 1e-6


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.7, [["0"], ["1"], ["2"]]),
        (0.5, [["0"], ["0"], ["1"]]),
        (0.4, [["0"], ["0"], ["1"]]),
        (1 / 3, [["0"], ["0"], ["0"]]),
        (2, [["0", "1"], ["2", "3"], ["4", "5"]]),
    ],
)
def test_annotate_workers_share_gpus(
    share: float, expected: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus_for(3, share) == expected


@pytest.mark.parametrize("share", SHARES)
def test_annotate_workers_that_are_too_many_for_the_gpus_are_refused(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are not refused have GPUs that are there."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b,c")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    most = int(3 * int(1 / share + 1e-6) if share < 1 else 3 / share)
    check_gpus(most, share)
    with pytest.raises(AnnotateError, match="more than the 3 GPU"):
        check_gpus(most + 1, share)
    assert {gpu for gpus in gpus_for(most, share) for gpu in gpus} <= {"a", "b", "c"}


@pytest.mark.parametrize(
    ("value", "threads"),
    [
        ("4", 4),
        (" 4 ", 4),
        ("4,2", 4),
        ("12, 3,1", 12),
        ("", 1),
        ("0", 1),
        ("-2", 1),
        ("many", 1),
        (",4", 1),
        ("9" * 30, 1),
    ],
)
def test_annotate_workers_read_their_number_of_threads(
    value: str, threads: int
) -> None:
    assert read_threads(value) == threads
