"""Choose the device and the dtype from the config and the hardware."""

from __future__ import annotations

import multiprocessing as mp
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from spacy_padellm.compat.torch import cpu_is_fast_in_bf16, is_bad_fork
from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.cudnn import switch_off_cudnn_attention

INT8 = "int8"  # of products in decoding, on the CPU
_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# the process that torch's threads belong to; 0 if this process was forked before the
# import, as its threads then stayed in the parent
_forked = mp.parent_process() and mp.get_start_method(allow_none=True) in {None, "fork"}
_process = 0 if _forked else os.getpid()


def choose_device(device: str) -> torch.device:
    """Get the torch device for "auto", "cpu", "cuda", "cuda:1", ...

    RAISES (ValueError): If the device is unknown or not available.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        parsed = torch.device(device)
    except RuntimeError as error:
        raise ValueError(Errors.P110.format(device=device)) from error
    if parsed.type not in {"cpu", "cuda"}:
        raise ValueError(Errors.P110.format(device=device))
    if parsed.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (parsed.index or 0) >= count:
            raise ValueError(Errors.P111.format(device=device, count=count))
    return parsed


def check_device(device: str) -> str:
    """Check the name of a device; "auto" asks for none.

    RETURNS (str): The name.
    RAISES (ValueError): If the device is unknown or not available.
    """
    if device != "auto":
        choose_device(device)
    return device


def check_devices(devices: Sequence[str]) -> None:
    """Check a decoder's list of devices.

    RAISES (ValueError): If it is not a list of strings, or a device is unknown or not
        available.
    """
    is_list = isinstance(devices, Sequence) and not isinstance(devices, str)
    if not is_list or not all(isinstance(device, str) for device in devices):
        least = 'a list, e.g. ["cuda:0", "cuda:1"], or [] for the model\'s own device'
        message = Errors.P120.format(name="devices", value=devices, least=least)
        raise ValueError(message)
    for device in devices:
        check_device(device)


def fast_bf16(device: torch.device) -> bool:
    """Whether the device computes products faster in bfloat16 than in float32."""
    if device.type == "cuda":
        if torch.version.hip:
            return True
        # older GPUs emulate bfloat16, which is slow
        return torch.cuda.get_device_properties(device).major >= 8
    return cpu_is_fast_in_bf16()


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Get the torch dtype for "auto", "float32", "bfloat16", "float16", "int8".

    "auto" is bfloat16 if the hardware is fast at it, else float16 on CUDA and float32
    on the CPU. So is "int8", whose products are made of these weights.

    RAISES (ValueError): If the dtype is unknown.
    """
    if check_dtype(dtype) in ("auto", INT8):
        if fast_bf16(device):
            return torch.bfloat16
        return torch.float16 if device.type == "cuda" else torch.float32
    return _DTYPES[dtype]


def check_dtype(dtype: str) -> str:
    """Check the name of a dtype.

    RETURNS (str): The name.
    RAISES (ValueError): If it is unknown.
    """
    known = [*_DTYPES, INT8]
    if dtype != "auto" and dtype not in known:
        raise ValueError(Errors.P112.format(dtype=dtype, known=", ".join(known)))
    return dtype


def enter_process(device: torch.device) -> None:
    """Make a device usable in this process, which may be a fork of another process.

    A forked process runs torch on one thread.

    RAISES (ValueError): If the device is CUDA, and the process was forked from a
        process that used CUDA.
    """
    global _process
    if device.type == "cuda" and is_bad_fork():
        raise ValueError(Errors.P132)
    if os.getpid() != _process:
        # OpenMP would wait forever for its threads, which stayed in the parent process
        torch.set_num_threads(1)
        _process = os.getpid()


def on_device(device: torch.device) -> AbstractContextManager[Any]:
    """Make a device the current one of this thread, so that kernels run on it."""
    switch_off_cudnn_attention(device)  # the model may have been moved by hand
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
