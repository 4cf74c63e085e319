"""The undocumented behaviour of transformers that `compat.transformers` relies on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CONFIGS, make_lm
from safetensors.torch import load_file
from transformers import AttentionInterface, AutoModelForCausalLM, BitsAndBytesConfig
from transformers.dynamic_module_utils import resolve_trust_remote_code

from spacy_padellm.compat.transformers import (
    attention_name,
    attention_names,
    configs_of,
    dtype_option,
    hook_vocabulary_head,
    mend_bitsandbytes_saving,
    no_questions,
    set_attention,
    swapped_attention,
)


@pytest.fixture
def calls() -> list[int]:
    """The layers that called the attention registered as "padellm_test"."""
    layers: list[int] = []

    def attend(module: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        layers.append(module.layer_idx)
        return query.transpose(1, 2), None

    AttentionInterface.register("padellm_test", attend)
    return layers


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_compat_swapped_attention_runs_in_every_layer(
    kind: str, calls: list[int]
) -> None:
    model, ids = make_lm(kind).model, torch.tensor([[1, 2, 3]])
    before = attention_name(model.config)
    with swapped_attention(model, "padellm_test"):
        model(ids)
    assert calls == [0, 1]
    model(ids)
    assert calls == [0, 1]
    assert attention_name(model.config) == before


def test_compat_set_attention_stays(calls: list[int]) -> None:
    model, ids = make_lm("llama").model, torch.tensor([[1, 2, 3]])
    set_attention(model.config, "padellm_test")
    for _ in range(2):
        model(ids)
    assert calls == [0, 1, 0, 1]
    assert attention_name(model.config) == "padellm_test"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_compat_dtype_option_sets_the_dtype_of_the_weights(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    make_lm("llama").model.save_pretrained(tmp_path)
    options = dtype_option(dtype)
    assert AutoModelForCausalLM.from_pretrained(tmp_path, **options).dtype == dtype


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_compat_swapped_attention_gets_the_4d_mask_unchanged(kind: str) -> None:
    masks: list[Any] = []

    def attend(
        module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any
    ) -> Any:
        masks.append(mask)
        return query.transpose(1, 2), None

    AttentionInterface.register("padellm_test", attend)
    model, mask = make_lm(kind).model, torch.zeros(1, 1, 1, 1)
    with swapped_attention(model, "padellm_test"):
        model(torch.tensor([[1, 2, 3]]), attention_mask=mask)
    assert all(torch.equal(each, mask) for each in masks)


def test_compat_swapped_attention_is_restored_after_an_error() -> None:
    model = make_lm("llama").model
    before = attention_name(model.config)
    with (
        pytest.raises(KeyError, match="stop"),
        swapped_attention(model, "padellm_test"),
    ):
        raise KeyError("stop")
    assert attention_name(model.config) == before


# settings of adapters that copy layers -> the layers that then run
COPIES: list[tuple[dict[str, Any], list[int]]] = [
    ({"modules_to_save": ["self_attn"]}, [0, 1]),
    ({"layer_replication": [[0, 2], [1, 2]]}, [0, 1, 2]),
]


def with_copies(settings: dict[str, Any]) -> Any:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(target_modules=["down_proj"], **settings)
    return peft.get_peft_model(make_lm("llama").model, config)


@pytest.mark.parametrize(("settings", "layers"), COPIES)
def test_compat_swapped_attention_runs_in_layers_that_adapters_copied(
    settings: dict[str, Any], layers: list[int], calls: list[int]
) -> None:
    model, ids = with_copies(settings), torch.tensor([[1, 2, 3]])
    with swapped_attention(model, "padellm_test"):
        model(ids)
    assert calls == layers
    model(ids)
    assert calls == layers


@pytest.mark.parametrize(("settings", "layers"), COPIES)
def test_compat_swapped_attention_of_copied_layers_is_restored_after_an_error(
    settings: dict[str, Any], layers: list[int]
) -> None:
    model = with_copies(settings)
    configs = configs_of(model)
    set_attention(configs[-1], "eager")
    before = attention_names(configs)
    with (
        pytest.raises(KeyError, match="stop"),
        swapped_attention(model, "padellm_test"),
    ):
        raise KeyError("stop")
    assert attention_names(configs) == before
    assert len(set(before)) == 2


@pytest.mark.parametrize(("settings", "layers"), COPIES)
def test_compat_configs_of_a_model_are_those_of_its_modules(
    settings: dict[str, Any], layers: list[int]
) -> None:
    model = with_copies(settings)
    configs = configs_of(model)
    assert configs[0] is model.config
    assert len(configs) > 2
    assert len(configs) == len({id(config) for config in configs})
    found = {id(vars(module).get("config")) for module in model.modules()}
    assert found - {id(None)} == {id(config) for config in configs}


def test_compat_configs_of_a_model_without_copies_are_one() -> None:
    model = make_lm("llama").model
    model.register_module("nothing", None)
    assert configs_of(model) == [model.config]


def test_compat_attention_name_is_not_saved_with_the_model() -> None:
    model = make_lm("llama").model
    with swapped_attention(model, "padellm_test"):
        assert "padellm_test" not in model.config.to_json_string()


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_compat_vocabulary_head_is_called_with_the_hidden_states(kind: str) -> None:
    model, ids = make_lm(kind).model, torch.tensor([[1, 2, 3], [4, 5, 6]])
    shapes = []

    def keep_first(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        (hidden,) = args
        shapes.append(tuple(hidden.shape))
        return (hidden[:, :1],)

    # the model has a hook of its own, which does nothing outside of our passes
    handle = hook_vocabulary_head(model, keep_first)
    logits = model(ids).logits
    handle.remove()
    assert shapes == [(2, 3, 32)]
    torch.testing.assert_close(logits, model(ids).logits[:, :1])


def test_compat_weights_of_bitsandbytes_are_saved_as_they_were_read(
    tmp_path: Path,
) -> None:
    pytest.importorskip("bitsandbytes")
    make_lm("llama").model.save_pretrained(tmp_path)
    config = BitsAndBytesConfig(load_in_4bit=True)
    load = AutoModelForCausalLM.from_pretrained
    load(tmp_path, quantization_config=config).save_pretrained(tmp_path)
    model = load(tmp_path)
    if hasattr(model, "_weight_conversions"):
        with pytest.raises(NotImplementedError):
            model.save_pretrained(tmp_path / "failed")
    mend_bitsandbytes_saving(model)
    model.save_pretrained(tmp_path / "saved")
    first, second = (
        load_file(path / "model.safetensors") for path in (tmp_path, tmp_path / "saved")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_compat_no_questions_makes_transformers_raise_instead_of_asking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("builtins.input", lambda text: pytest.fail(f"asked: {text}"))
    with no_questions(), pytest.raises(ValueError, match="trust_remote_code"):
        resolve_trust_remote_code(None, "a/b", False, True)


def test_compat_no_questions_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text: requests.append(text) or "n")
    with no_questions():
        pass
    with pytest.raises(ValueError, match="trust_remote_code"):
        resolve_trust_remote_code(None, "a/b", False, True)
    assert requests
