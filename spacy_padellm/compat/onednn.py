"""torch's operators for the kernels of oneDNN, which are not documented."""

from __future__ import annotations

import torch

from spacy_padellm.compat.torch import cpu_has_amx


def onednn_has_bf16() -> bool:
    """Whether torch has oneDNN, and the processor can run its bfloat16 kernels.

    Seen on torch 2.13.0.
    """
    available = bool(torch.backends.mkldnn.is_available())
    return available and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def onednn_pack(weight: torch.Tensor, rows: int) -> torch.Tensor:
    """Copy a linear layer's weight into the layout of oneDNN's kernels.

    Seen on torch 2.13.0.

    weight (torch.Tensor): (outputs, inputs), bfloat16 on the CPU.
    rows (int): Rows of the inputs that the layout is best for.
    RETURNS (torch.Tensor): For `onednn_linear` only.
    """
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return packed


def onednn_linear(
    x: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Run a linear layer on a weight packed by `onednn_pack`.

    Seen on torch 2.13.0.

    x (torch.Tensor): (..., inputs), bfloat16 on the CPU.
    packed (torch.Tensor): The packed weight.
    bias (torch.Tensor | None): (outputs,).
    RETURNS (torch.Tensor): (..., outputs).
    """
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
        x, packed, bias, "none", [], ""
    )
    return product


def onednn_has_int8() -> bool:
    """Whether torch has oneDNN, and the processor has 8-bit products (VNNI or AMX).

    Seen on torch 2.13.0. Without such instructions sums of two products overflow.
    """
    has = cpu_has_amx() or getattr(torch.cpu, "_is_vnni_supported", bool)()
    available = bool(torch.backends.mkldnn.is_available())
    return has and available and hasattr(torch.ops.onednn, "qlinear_pointwise")


def onednn_pack_int8(weight: torch.Tensor, rows: int) -> torch.Tensor:
    """Copy an 8-bit weight into the layout of oneDNN's kernels.

    Seen on torch 2.13.0.

    weight (int8): (outputs, inputs), on the CPU.
    rows (int): Rows of the inputs that the layout is best for.
    RETURNS (torch.Tensor): For `onednn_linear_int8` only.
    """
    shape = [rows, weight.shape[1]]
    packed: torch.Tensor = torch.ops.onednn.qlinear_prepack(weight, shape)
    return packed


def onednn_linear_int8(
    codes: torch.Tensor,
    packed: torch.Tensor,
    scales: torch.Tensor,
    *,
    zeros: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Multiply 8-bit rows with a weight packed by `onednn_pack_int8`.

    Seen on torch 2.13.0.

    codes (uint8): (rows, inputs); 128 stands for zero.
    packed (torch.Tensor): The packed weight.
    scales (float32): (outputs,), the scale of each row of the weight.
    zeros (int32): (outputs,), the code that stands for zero in each row: all 0.
    dtype (torch.dtype): Of the outputs: float32 or bfloat16.
    RETURNS (torch.Tensor): (rows, outputs).
    """
    product: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
        codes, 1.0, 128, packed, scales, zeros, None, 1.0, 0, dtype, "none", [], ""
    )
    return product
