"""The setting `device_map`, without a model."""

from __future__ import annotations

from typing import Any

import pytest
from pretended_gpu import PretendedGPUs

from spacy_padellm.lm.devices import device_map as module
from spacy_padellm.lm.devices.device_map import (
    check_accelerate,
    check_device_map,
    map_option,
)

GOOD: list[Any] = [
    None,
    "auto",
    "balanced",
    "balanced_low_0",
    "sequential",
    {"model": "cpu"},
    {"model": 0, "lm_head": 1},
    {"model": "cuda:1", "lm_head": "cuda"},
]


@pytest.mark.parametrize("value", GOOD)
def test_device_map_is_taken(value: Any, gpus: PretendedGPUs) -> None:
    check_device_map(value, "auto")


WRONG: dict[str, tuple[Any, str]] = {
    "name": ("cuda:1", "device_map is 'cuda:1'.*'balanced_low_0'"),
    "number": (1, "device_map is 1"),
    "list": ([0, 1], r"device_map is \[0, 1\]"),
    "empty": ({}, r"device_map is \{\}"),
    "switch": ({"model": True}, "True"),
    "no part": ({"": 0}, r"\{'': 0\}"),
    "key": ({0: 0}, r"\{0: 0\}"),
    "disk": ({"model": 0, "lm_head": "disk"}, "on cuda:0, disk.*quantization_config"),
    "CPU": ({"model": 0, "lm_head": "cpu"}, "on cpu, cuda:0"),
    "absent": ({"model": 0, "lm_head": 2}, "'cuda:2', and torch sees 2"),
    "negative": ({"model": -1}, "'cuda:-1'"),
    "auto": ({"model": "auto", "lm_head": 1}, "'model': 'auto'"),
    "unknown": ({"model": "gpu"}, "'gpu'"),
    "disk alone": ({"model": "disk"}, "'disk'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_device_map_wrong_value_is_an_error(case: str, gpus: PretendedGPUs) -> None:
    value, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        check_device_map(value, "auto")


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_device_map_and_a_device_are_an_error(device: str) -> None:
    with pytest.raises(ValueError, match=rf"'{device}' and device_map = 'auto'.*both"):
        check_device_map("auto", device)


def test_device_map_option_names_the_devices() -> None:
    assert map_option(None) == {}
    assert map_option("sequential") == {"device_map": "sequential"}
    named = {"model": "cuda:0", "lm_head": "cuda:1"}
    assert map_option({"model": 0, "lm_head": "cuda:1"}) == {"device_map": named}


def test_device_map_needs_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    check_accelerate(None)
    for check in (check_accelerate, map_option):
        with pytest.raises(ValueError, match="pip install accelerate"):
            check("auto")
