"""Uses of torch that its documentation does not promise."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import is_traceable_wrapper_subclass


def is_bad_fork() -> bool:
    """Whether this process was forked from one that had started to use CUDA.

    Seen on torch 2.13.0.
    """
    return bool(torch.cuda._is_in_bad_fork())


def cpu_is_fast_in_bf16() -> bool:
    """Whether the processor has instructions for bfloat16 products.

    Seen on torch 2.13.0. `torch.cpu.get_capabilities` is public, but newer than the
    oldest torch that is supported. The answer is no where torch has no such check.
    """
    return cpu_has_amx() or getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()


def cpu_has_amx() -> bool:
    """Whether the processor has tiles for matrix products (AMX).

    See `cpu_is_fast_in_bf16`.
    """
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


def tensor_version(tensor: torch.Tensor) -> int:
    """A number that grows each time a tensor is changed in place.

    Seen on torch 2.13.0. Tensors made in inference mode have no such number; it is 0.
    """
    return 0 if tensor.is_inference() else tensor._version


def parameter_of_class(kind: type, data: torch.Tensor, *, requires_grad: bool) -> Any:
    """Make a parameter of a class of its own, without its attributes.

    Seen on torch 2.13.0, whose `Parameter` is made so. The constructor of the class may
    take other arguments, and quantize the data again.

    kind (type): A subclass of torch.nn.Parameter.
    data (torch.Tensor): The data.
    requires_grad (bool): Whether it gets a gradient.
    """
    return torch.Tensor._make_subclass(kind, data, requires_grad)


def holds_tensors(tensor: torch.Tensor) -> bool:
    """Whether a tensor is of a class that wraps tensors, and knows how it is copied.

    Seen on torch 2.13.0.

    tensor (torch.Tensor): Any tensor.
    """
    return is_traceable_wrapper_subclass(tensor)


def scale_in_place(tensors: list[torch.Tensor], scale: float) -> None:
    """Multiply many tensors by a number, with few kernels on a GPU.

    Seen on torch 2.13.0.
    """
    torch._foreach_mul_(tensors, scale)


def varlen_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_starts: torch.Tensor,
    key_starts: torch.Tensor,
    longest_query: int,
    longest_key: int,
    *,
    scale: float,
    causal: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the attention of sequences of different lengths, on a GPU.

    Read in torch 2.11.0 and 2.13.0. Their documentation gives the second output as
    (queries, heads), their kernels (heads, queries). 2.11 lets query heads share keys
    without being told; 2.13 must be told.

    query (torch.Tensor): (queries, heads, head size), bfloat16 or float16.
    key, value (torch.Tensor): (keys, shared heads, head size).
    query_starts, key_starts (torch.Tensor): int32, (sequences + 1,).
    longest_query, longest_key (int): Most queries and keys of a sequence.
    scale (float): Factor of the scores.
    causal (bool): Whether no query attends to a later key.
    RETURNS (tuple[torch.Tensor, torch.Tensor]): The output, and the logarithms of the
        sums of the exponentials of the scores: float32, (queries, heads).
    """
    from torch.nn.attention.varlen import (  # torch 2.10 or newer
        AuxRequest,
        varlen_attn,
    )

    told: dict[str, Any] = {}
    if "enable_gqa" in inspect.signature(varlen_attn).parameters:
        told["enable_gqa"] = True
    output, sums = varlen_attn(
        query,
        key,
        value,
        query_starts,
        key_starts,
        longest_query,
        longest_key,
        return_aux=AuxRequest(lse=True),
        scale=scale,
        window_size=(-1, 0) if causal else (-1, -1),
        **told,
    )
    return output, sums.T if sums.shape[0] == query.shape[1] else sums


def muon_in_float32() -> AbstractContextManager[Any]:
    """Let `torch.optim.Muon` orthogonalize matrices in float32.

    Seen on torch 2.13.0: it calls `Tensor.bfloat16` on each gradient, has no setting
    for the dtype, and is slow on processors without bfloat16 instructions.
    """
    return _BFloat16IsFloat32()


class _BFloat16IsFloat32(TorchFunctionMode):
    """Replaces `Tensor.bfloat16` by a cast to float32."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.bfloat16:
            return args[0].to(torch.float32, copy=True)  # Muon changes it in place
        return func(*args, **(kwargs or {}))
