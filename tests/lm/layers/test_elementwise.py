from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from spacy_padellm.lm.layers.elementwise import rms_norm, rms_norm_heads, rotate


@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_elementwise_rms_norm_equals_torch(dtype: torch.dtype, rows: int) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(rows, 96).to(dtype), torch.rand(96).to(dtype)
    with torch.inference_mode():
        expected = F.rms_norm(x, (96,), weight, 1e-5)
        torch.testing.assert_close(rms_norm(x, weight, 1e-5), expected)


def test_elementwise_rms_norm_keeps_large_and_small_rows() -> None:
    x = torch.tensor([[3e18, -3e18], [1e-12, 1e-12], [0, 0]])
    with torch.inference_mode():
        found = rms_norm(x, torch.ones(2), 1e-6)
    torch.testing.assert_close(found, F.rms_norm(x, (2,), torch.ones(2), 1e-6))


def test_elementwise_rms_norm_gradients_equal_those_of_torch() -> None:
    torch.manual_seed(0)
    x, weight, weights = torch.randn(5, 16) + 2, torch.rand(16), torch.randn(5, 16)
    gradients = []
    for norm in (rms_norm, lambda x, w, eps: F.rms_norm(x, (16,), w, eps)):
        inputs = x.clone().requires_grad_(), weight.clone().requires_grad_()
        (norm(*inputs, 1e-5) * weights).sum().backward()
        gradients.append([tensor.grad for tensor in inputs])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("trains", [False, True])
def test_elementwise_rms_norm_plus_one_equals_gemma(
    trains: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    x, module = (torch.randn(5, 96) + 2).to(dtype), GemmaRMSNorm(96, eps=1e-5)
    torch.nn.init.normal_(module.weight)
    module.to(dtype)
    gradients, outputs = [], []
    for norm in (lambda x, w: rms_norm(x, w, 1e-5, plus_one=True), module_norm(module)):
        inputs = x.clone().requires_grad_(), module.weight
        module.weight.grad = None
        with torch.set_grad_enabled(trains):
            outputs.append(norm(*inputs))
        if trains:
            outputs[-1].square().sum().backward()
            gradients += [inputs[0].grad, module.weight.grad]
    torch.testing.assert_close(outputs[0], outputs[1])
    if trains:
        loose = {"atol": 0.1, "rtol": 0.05} if dtype == torch.bfloat16 else {}
        torch.testing.assert_close(gradients[:2], gradients[2:], **loose)


def module_norm(module: GemmaRMSNorm) -> Callable[..., torch.Tensor]:
    return lambda x, _: module(x)


def test_elementwise_rms_norm_of_frozen_weight_has_no_gradient() -> None:
    x, weight = torch.randn(3, 8, requires_grad=True), torch.ones(8)
    rms_norm(x, weight, 1e-5).sum().backward()
    assert x.grad is not None
    assert weight.grad is None


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("plus_one", [False, True])
def test_elementwise_rms_norm_heads_normalizes_each_group_by_its_weight(
    plus_one: bool, trains: bool
) -> None:
    torch.manual_seed(0)
    x, weights = torch.randn(5, 7, 16), list(torch.rand(2, 16))
    with torch.set_grad_enabled(trains):
        found = rms_norm_heads(x[:, 1:], weights, [4, 2], 1e-5, plus_one=plus_one)
    for group, weight in zip(x[:, 1:].split([4, 2], 1), weights, strict=True):
        part, found = found.split([group.shape[1], found.shape[1] - group.shape[1]], 1)
        expected = F.rms_norm(group, (16,), weight + plus_one, 1e-5)
        torch.testing.assert_close(part, expected)


def test_elementwise_rotate_equals_transformers() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 3, 8)
    cos, sin = (torch.randn(6, 4).repeat(1, 2) for _ in range(2))
    heads_first = x.transpose(0, 1)
    expected, _ = apply_rotary_pos_emb(
        heads_first, heads_first, cos, sin, unsqueeze_dim=0
    )
    signed = torch.cat((-sin[:, :4], sin[:, 4:]), -1)
    found = rotate(x, cos[:, None], signed[:, None])
    torch.testing.assert_close(found, expected.transpose(0, 1))
