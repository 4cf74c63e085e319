"""Patterns in a model's settings that would run for very long."""

from __future__ import annotations

import re
from math import inf
from pathlib import Path
from typing import Any

import pytest
from conftest import make_lm
from trust_helpers import change, write_adapter, write_model

from spacy_padellm.lm.loading import load_model
from spacy_padellm.lm.lora import with_lora
from spacy_padellm.lm.quantization.compute import check_quantization
from spacy_padellm.lm.trust.patterns import count_steps, slow_pattern

# each has many more ways to read this name than there are characters in it
NAME = "model.layers.0.self_attn.q_proj"
SLOW = [
    r"((\w|\.)+)+!",
    r"(.*)*(.*)*!",
    "(m|m)(o|o)(d|d)(e|e)(l|l)(.|.)(l|l)(a|a)(y|y)(e|e)(r|r)(s|s)(.|.)(0|0)!",
    ".*.*.*.*.*.*!",
    "(?:.?){31}.{31}",
    "m(o(d(e|e)*|d)*|o)*",
    r"(.*)(.*)\1\2!",
]
QUICK = [
    "all-linear",
    r".*\.(q|k|v|o|gate|up|down)_proj$",
    r"^model\.layers\.\d+\.(self_attn|mlp)\.(q_proj|down_proj)$",
    r"^(?!.*vision).*(?:q_proj|[kv]_proj)$",
]


@pytest.mark.parametrize("pattern", SLOW)
def test_patterns_that_may_take_long_are_found(pattern: str) -> None:
    assert slow_pattern("target_modules", pattern) == pattern


@pytest.mark.parametrize("pattern", QUICK)
def test_patterns_that_are_quick_are_left_alone(pattern: str) -> None:
    assert slow_pattern("target_modules", pattern) is None


def test_patterns_count_names_as_nothing() -> None:
    assert count_steps(NAME) == 0
    names = {f"model.layers.{number}.q_proj": 8 for number in range(10_000)}
    assert slow_pattern("rank_pattern", names) is None


def test_patterns_are_counted_together() -> None:
    many = {f".*{number}.*q_proj": 8 for number in range(10_000)}
    assert slow_pattern("rank_pattern", many) in many


@pytest.mark.parametrize(
    "pattern", ["[", "a**", "(?P<a>b)", "a" * 501, "(a)?", "a{2}", r"\1"]
)
def test_patterns_of_other_kinds_are_not_counted(pattern: str) -> None:
    assert count_steps(pattern) == inf


@pytest.mark.parametrize("key", ["bnb_4bit_quant_type", "sentence"])
def test_patterns_are_not_looked_for_in_other_settings(key: str) -> None:
    assert slow_pattern(key, SLOW[0]) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": SLOW[0]},
        {"exclude_modules": SLOW[0]},
        {"modules_to_save": [SLOW[0]]},
        {"layers_pattern": [SLOW[0]], "layers_to_transform": [0]},
        {"rank_pattern": {SLOW[0]: 4}},
        {"alpha_pattern": {SLOW[0]: 4}},
    ],
)
def test_patterns_of_an_adapter_are_refused(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    adapter = write_adapter(tmp_path / "a", write_model(tmp_path / "m"), **settings)
    found = re.escape(f"{next(iter(settings))}: {SLOW[0]!r}")
    with pytest.raises(ValueError, match=rf"may take very long, {found}"):
        load_model(str(adapter))


def test_patterns_that_are_quick_choose_the_modules(tmp_path: Path) -> None:
    base = write_model(tmp_path / "m")
    adapter = write_adapter(tmp_path / "a", base, target_modules=r".*\.(q)_proj")
    names = dict(load_model(str(adapter)).model.named_modules())
    assert any(name.endswith("q_proj.lora_A") for name in names)
    assert not any(name.endswith("k_proj.lora_A") for name in names)


@pytest.mark.parametrize(
    "settings",
    [
        {"quant_method": "bitsandbytes", "llm_int8_skip_modules": [SLOW[0]]},
        {"quant_method": "fp8", "modules_to_not_convert": [SLOW[0]]},
        {"quant_method": "gptq", "dynamic": {"-:" + SLOW[0]: {}}},
        {"quant_method": "compressed-tensors", "ignore": ["re:" + SLOW[0]]},
    ],
)
def test_patterns_of_a_quantized_model_are_refused(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    model = write_model(tmp_path / "m")
    change(model / "config.json", quantization_config=settings)
    with pytest.raises(ValueError, match=r"config\.json chooses modules by a pattern"):
        load_model(str(model))


def test_patterns_of_the_users_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="lora chooses modules by a pattern"):
        with_lora(
            make_lm("llama"),
            {"target_modules": SLOW[0]},
            name=None,
            revision=None,
            new_tokens=[],
        )
    settings = {"load_in_8bit": True, "llm_int8_skip_modules": [SLOW[0]]}
    with pytest.raises(ValueError, match="quantization_config chooses modules"):
        check_quantization(settings)
