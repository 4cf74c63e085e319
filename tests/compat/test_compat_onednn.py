"""The undocumented operators of torch that `compat.onednn` relies on."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import linear

from spacy_padellm.compat.onednn import onednn_has_bf16, onednn_linear, onednn_pack


@pytest.mark.skipif(
    not onednn_has_bf16(), reason="the processor has no bfloat16 kernels"
)
def test_compat_onednn_product_is_torchs() -> None:
    torch.manual_seed(0)
    weight = torch.randn(64, 32, dtype=torch.bfloat16)
    bias, x = torch.randn(2, 64).bfloat16()[0], torch.randn(1, 3, 32).bfloat16()
    with torch.inference_mode():
        product = onednn_linear(x, onednn_pack(weight, 8), bias)
        torch.testing.assert_close(product, linear(x, weight, bias))


def test_compat_onednn_operators_are_known_to_torch() -> None:
    for name in (
        "_is_mkldnn_bf16_supported",
        "_reorder_linear_weight",
        "_linear_pointwise",
    ):
        assert hasattr(torch.ops.mkldnn, name)
