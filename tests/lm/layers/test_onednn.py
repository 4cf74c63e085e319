from __future__ import annotations

import copy

import pytest
import torch

from spacy_padellm.compat.onednn import onednn_has_bf16
from spacy_padellm.lm.layers import onednn
from spacy_padellm.lm.layers.onednn import prepack

needs_kernels = pytest.mark.skipif(
    not onednn_has_bf16(), reason="the processor has no bfloat16 kernels to pack for"
)


def make_layer(
    *, bias: bool = False, dtype: torch.dtype = torch.bfloat16
) -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(1024, 1024, bias=bias, dtype=dtype))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 128, 129])
def test_onednn_gives_the_same_products(rows: int, bias: bool) -> None:
    model = make_layer(bias=bias)
    x = torch.randn(1, rows, 1024, dtype=torch.bfloat16)
    with torch.inference_mode():
        expected = model(x)
        assert prepack(model) == onednn_has_bf16()
        torch.testing.assert_close(model(x), expected)


@needs_kernels
def test_onednn_packed_weights_are_used_for_few_rows_only() -> None:
    model = make_layer()
    prepack(model)
    with torch.no_grad():
        model(torch.ones(1, 1024, dtype=torch.bfloat16))
        model[0].weight.zero_()
        many = model(torch.ones(129, 1024, dtype=torch.bfloat16))
        few = model(torch.ones(128, 1024, dtype=torch.bfloat16))
    assert not many.any()
    assert few.any()


@needs_kernels
def test_onednn_copy_has_weights_of_its_own() -> None:
    model = make_layer()
    prepack(model)
    other = copy.deepcopy(model)
    x = torch.randn(2, 1024, dtype=torch.bfloat16)
    with torch.inference_mode():
        expected = model(x)
        torch.testing.assert_close(other(x), expected)
    assert other[0].forward.layer is other[0]


def test_onednn_leaves_gradients_alone() -> None:
    model = make_layer()
    prepack(model)
    model(torch.randn(2, 1024, dtype=torch.bfloat16)).sum().backward()
    assert model[0].weight.grad is not None


def test_onednn_leaves_other_dtypes_and_small_layers_alone() -> None:
    assert prepack(make_layer(dtype=torch.float32)) == 0
    small = torch.nn.Sequential(torch.nn.Linear(64, 64, dtype=torch.bfloat16))
    assert prepack(small) == 0


@needs_kernels
def test_onednn_packs_the_bfloat16_layers_beside_float32_adapters() -> None:
    model = torch.nn.Sequential(
        *make_layer(), torch.nn.Linear(1024, 1024, dtype=torch.float32)
    )
    assert prepack(model) == 1
    assert "forward" not in vars(model[1])


def test_onednn_leaves_large_models_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "MOST_BYTES", 1 << 20)
    assert prepack(make_layer()) == 0


def test_onednn_copies_on_other_devices_use_their_own_weights() -> None:
    model = make_layer()
    prepack(model)
    # no other device is at hand; this one has no values, but the same rules
    there = copy.deepcopy(model).to("meta")
    with torch.no_grad():
        found = there(torch.ones(1, 1024, dtype=torch.bfloat16, device="meta"))
    assert found.device.type == "meta"
