"""A sample of `benchmarks.fuzz`: changed inputs are read or told, and no more."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

pytest.importorskip("openai")
pytest.importorskip("pyarrow")

from benchmarks import fuzz
from benchmarks.fuzz_targets import TARGETS, Attempt, Target
from benchmarks.mutations import mutated_bytes, mutated_json

SAMPLE = {
    "padellm.json": 100,
    "answers": 100,
    "server": 20,
    "from_bytes": 10,
    "from_bytes, client": 20,
    "convert": 100,
}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def failures(monkeypatch: pytest.MonkeyPatch, attempt: Attempt) -> list[str]:
    """What is found in one input that is read like this."""
    monkeypatch.setitem(TARGETS, "x", Target(1, lambda folder, chance: attempt))
    return fuzz.run({"x": 1}, seed=0)["x"].failures


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAMPLE)
def test_fuzz_finds_nothing(name: str) -> None:
    assert SAMPLE.keys() == TARGETS.keys()
    outcomes = fuzz.run({name: SAMPLE[name]}, seed=1)[name]
    assert outcomes.failures == []
    assert outcomes.reported > 0
    assert outcomes.read + outcomes.reported == SAMPLE[name]


@pytest.mark.parametrize("error", [TypeError("x"), ValueError("x"), OSError("P105")])
def test_fuzz_finds_raw_errors(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def attempt() -> None:
        raise error

    (found,) = failures(monkeypatch, attempt)
    assert type(error).__name__ in found


def test_fuzz_finds_files_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (found,) = failures(monkeypatch, (tmp_path / "written").touch)
    assert "written" in found
    (found,) = failures(monkeypatch, Path("written").touch)
    assert "elsewhere/written" in found


def test_fuzz_finds_slow_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt() -> None:
        while True:
            pass

    monkeypatch.setattr(fuzz, "SECONDS", 0.1)
    (found,) = failures(monkeypatch, attempt)
    assert "longer than" in found


def test_fuzz_inputs_come_from_the_seed() -> None:
    def inputs(seed: int) -> list[object]:
        chance = random.Random(seed)
        found = [mutated_json({"a": ["b", 1]}, chance) for _ in range(20)]
        return [repr(found), *(mutated_bytes(b"abc", chance) for _ in range(20))]

    assert inputs(1) == inputs(1)
    assert inputs(1) != inputs(2)


def test_fuzz_changes_a_copy() -> None:
    chance, value = random.Random(0), {"a": ["b", {"c": 1}]}
    for _ in range(100):
        mutated_json(value, chance)
    assert value == {"a": ["b", {"c": 1}]}
