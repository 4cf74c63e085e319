"""The undocumented behaviour of torch that `compat.torch` relies on."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch.nn.attention import varlen

from spacy_padellm.compat.torch import (
    cpu_is_fast_in_bf16,
    holds_tensors,
    is_bad_fork,
    muon_in_float32,
    parameter_of_class,
    scale_in_place,
    tensor_version,
    varlen_attention,
)


def test_compat_this_process_is_no_bad_fork() -> None:
    assert is_bad_fork() is False


@pytest.mark.parametrize(
    "check", ["_is_amx_tile_supported", "_is_avx512_bf16_supported"]
)
def test_compat_torch_has_the_checks_of_the_processor(check: str) -> None:
    assert isinstance(getattr(torch.cpu, check)(), bool)


@pytest.mark.parametrize("supported", [True, False])
def test_compat_cpu_is_fast_if_a_check_says_so(
    supported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported)
    assert cpu_is_fast_in_bf16() == supported


def test_compat_tensor_version_grows_with_changes_in_place() -> None:
    tensor = torch.zeros(2)
    before = tensor_version(tensor)
    tensor.add_(1)
    assert tensor_version(tensor) > before


def test_compat_tensor_of_inference_mode_has_version_0() -> None:
    with torch.inference_mode():
        assert tensor_version(torch.zeros(2)) == 0


def test_compat_parameter_of_class_has_the_class_and_the_data() -> None:
    class Quantized(torch.nn.Parameter):
        def __new__(cls, data: torch.Tensor) -> Quantized:
            raise AssertionError("made by its constructor")

    data = torch.arange(3.0)
    parameter = parameter_of_class(Quantized, data, requires_grad=False)
    assert type(parameter) is Quantized
    assert torch.equal(parameter.data, data)
    assert not parameter.requires_grad


def test_compat_holds_tensors_tells_wrappers_from_parameters() -> None:
    class Wrapper(torch.Tensor):
        @staticmethod
        def __new__(cls, held: torch.Tensor) -> Wrapper:
            made: Wrapper = torch.Tensor._make_wrapper_subclass(cls, held.shape)  # type: ignore[attr-defined]
            made.held = held
            return made

        held: torch.Tensor

        def __tensor_flatten__(self) -> tuple[list[str], None]:
            return ["held"], None

        @staticmethod
        def __tensor_unflatten__(parts: Any, *_: Any) -> Wrapper:
            return Wrapper(parts["held"])

        @classmethod
        def __torch_dispatch__(cls, *_: Any) -> Any:
            raise NotImplementedError

    assert holds_tensors(Wrapper(torch.zeros(2)))
    assert not holds_tensors(torch.nn.Parameter(torch.zeros(2)))


def test_compat_scale_in_place_scales_every_tensor() -> None:
    tensors = [torch.ones(2), torch.ones(3, 3)]
    scale_in_place(tensors, 0.5)
    assert all(bool((tensor == 0.5).all()) for tensor in tensors)


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_compat_varlen_attention_asks_for_what_torch_takes(
    causal: bool, flipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = varlen.varlen_attn, {}

    def run(*args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        asked.update(inspect.signature(real).bind(*args, **kwargs).arguments)
        sums = torch.arange(20.0).view(4, 5)  # heads, queries
        return args[0], sums.T if flipped else sums

    run.__signature__ = inspect.signature(real)  # type: ignore[attr-defined]
    monkeypatch.setattr(varlen, "varlen_attn", run)
    starts = torch.tensor([0, 2, 5]), torch.tensor([0, 4, 7])
    query, keys = torch.zeros(5, 4, 8), torch.zeros(7, 2, 8)
    output, sums = varlen_attention(
        query, keys, keys, *starts, 3, 4, scale=0.5, causal=causal
    )
    assert output is query
    assert sums.tolist() == torch.arange(20.0).view(4, 5).T.tolist()
    assert asked["window_size"] == ((-1, 0) if causal else (-1, -1))
    assert asked["return_aux"].lse
    assert asked.get("enable_gqa", True)


def test_compat_muon_casts_to_bfloat16_unless_told_to_stay_in_float32() -> None:
    def step() -> torch.Tensor:
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.zeros(4, 4))
        weight.grad = torch.randn(4, 4)
        torch.optim.Muon([weight], lr=1.0, weight_decay=0.0).step()
        return weight.detach()

    plain = step()
    with muon_in_float32():
        exact = step()
    # bfloat16 has 8 bits: the update of the other one has more digits
    assert torch.equal(plain, plain.bfloat16().float())
    assert not torch.equal(exact, exact.bfloat16().float())
    torch.testing.assert_close(exact, plain, rtol=0.1, atol=0.02)


def test_compat_muon_in_float32_copies_the_gradient() -> None:
    tensor = torch.zeros(2)
    with muon_in_float32():
        copy = tensor.bfloat16()
        copy.add_(1)
    assert copy.dtype == torch.float32
    assert not tensor.any()
