"""Weights stored in few bits: 4 for the layers' matrices, 8 for the vocabulary.

Small models, which lose more by rounding, store all matrices in 8 bits, and so do all
models those of a width that has no even groups. A row of a matrix in 4 bits is cut into
groups of neighbouring weights that share a scale. A weight is stored
as its number of steps of the scale from zero. The model computes with the weights that
are read back; see `TrainingSettings.quantized` for training with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from spacy_padellm.errors import Errors

QUANTIZED_FILE = "quantized.safetensors"
LAYER_BITS = 4
VOCABULARY_BITS = SMALL_MODEL_BITS = 8
SMALL_MODEL = 512  # narrower models are small
# smaller groups in 4 bits would take as much room as 8 bits, with their scales
_SMALLEST_GROUP, _LARGEST_GROUP = 6, 128
_CODES, _SCALES = ".codes", ".scales"
_LEAST = 2.0**-24  # the smallest float16
# float16 has 3 bits more than bfloat16: 4 numbers on each side, and 1 for rounding
_NEIGHBOURS = sorted(range(-5, 6), key=abs)


def bits_of(model: Any) -> dict[str, int]:
    """The matrices that are stored in few bits, with their bits.

    model (transformers.PreTrainedModel): The model.
    RETURNS (dict[str, int]): Parameter name -> bits. All other parameters, such as
        those of norms, are stored as they are.
    """
    layers = model.get_input_embeddings(), model.get_output_embeddings()
    vocabulary = {id(layer.weight) for layer in layers}
    small = layers[0].weight.shape[1] < SMALL_MODEL
    bits = {}
    for name, parameter in model.named_parameters():
        if parameter.dim() != 2:
            continue
        if id(parameter) in vocabulary:
            bits[name] = VOCABULARY_BITS
        elif small or not _group_size(parameter.shape[1]):
            bits[name] = SMALL_MODEL_BITS
        else:
            bits[name] = LAYER_BITS
    return bits


def rounded(matrix: torch.Tensor, bits: int) -> torch.Tensor:
    """A matrix as it is read back after it was stored.

    matrix (torch.Tensor): (rows, columns), float32.
    bits (int): 4 or 8, see `bits_of`.
    RETURNS (torch.Tensor): (rows, columns), float32.
    """
    return _dequantize(*_quantize(matrix, bits))


def write_quantized(model: Any, folder: Path) -> None:
    """Write a model's weights as `quantized.safetensors`.

    model (transformers.PreTrainedModel): The model.
    folder (Path): The folder; it must exist.
    """
    bits = bits_of(model)
    tensors = {}
    for name, parameter in model.named_parameters():
        if name not in bits:
            tensors[name] = parameter.detach().cpu().contiguous()
            continue
        codes, scales = _quantize_rounded(parameter.detach(), bits[name])
        tensors[name + _CODES] = _pack(codes, bits[name]).cpu()
        tensors[name + _SCALES] = scales.cpu()
    save_file(tensors, folder / QUANTIZED_FILE, metadata={"format": "pt"})


def read_quantized(folder: Path, *, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Read weights that `write_quantized` wrote.

    folder (Path): The folder.
    dtype (torch.dtype): The dtype of the weights.
    RETURNS (dict[str, torch.Tensor]): Parameter name -> weights.
    RAISES (SafetensorError): If the file is corrupt, or a matrix does not fit its
        scales.
    """
    tensors = load_file(folder / QUANTIZED_FILE)
    return {
        name.removesuffix(_CODES): _read(name, tensors).to(dtype)
        for name in tensors
        if not name.endswith(_SCALES)
    }


def _read(name: str, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    if not name.endswith(_CODES):
        return tensors[name]
    codes = tensors[name]
    scales = tensors.get(name.removesuffix(_CODES) + _SCALES)
    # a small file of shapes that broadcast would take any amount of memory
    if (
        codes.dtype not in (torch.int8, torch.uint8)
        or codes.dim() != 3
        or scales is None
        or scales.shape != codes.shape[:2]
    ):
        raise SafetensorError(Errors.P1012.format(name=name))
    return _dequantize(_unpack(codes), scales)


def _quantize(matrix: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Steps (rows, groups, group size) as float32, and scales (rows, groups)."""
    groups = _groups(matrix, bits)
    scales = _scales(groups, bits)
    return _steps(groups, scales, bits), scales[..., 0].half()


def _quantize_rounded(
    matrix: torch.Tensor, bits: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Like `_quantize`, but a matrix that was rounded, and then cast to its dtype, is
    read back as it is: not rounded again.

    The cast to bfloat16 hides the last bits of a scale, so its neighbours are tried.
    """
    groups = _groups(matrix.float(), bits)
    shape = groups.shape
    groups = groups.flatten(0, 1)
    first = _scales(groups, bits)
    scales = first.clone()
    left = torch.arange(len(groups), device=groups.device)
    for offset in _NEIGHBOURS:
        weights = groups[left]
        tried = (first[left].half().view(torch.int16) + offset).view(torch.half).float()
        read = (_steps(weights, tried, bits) * tried).to(matrix.dtype)
        same = (read == weights).all(dim=1)
        scales[left[same]] = tried[same]
        left = left[~same]
        if not len(left):
            break
    steps = _steps(groups, scales, bits)
    return steps.view(shape), scales.view(shape[:2]).half()


def _groups(matrix: torch.Tensor, bits: int) -> torch.Tensor:
    """The weights that share a scale: (rows, groups, group size)."""
    rows, columns = matrix.shape
    size = columns if bits == 8 else _group_size(columns)
    return matrix.view(rows, -1, size)


def _scales(groups: torch.Tensor, bits: int) -> torch.Tensor:
    """The scale of each group, of 11 bits: (..., 1), float32.

    The largest weight is always the last step, so that what is read back has the same
    scale again.
    """
    most = 1 << (bits - 1)
    low, high = groups.aminmax(dim=-1, keepdim=True)
    # there is one step more below zero: the scale's sign gives it to the larger side
    largest = torch.where(-low > high, low, high)
    exact = largest / -most
    scales = exact.half().float()
    # the smallest float16 numbers are coarse: one that is too large is rounded down
    is_last = _steps(largest, scales, bits) == -most
    return torch.where(is_last, scales, (exact / _LEAST).trunc() * _LEAST)


def _steps(groups: torch.Tensor, scales: torch.Tensor, bits: int) -> torch.Tensor:
    most = 1 << (bits - 1)
    steps = groups / scales.masked_fill(scales == 0, 1)
    return steps.round_().clamp_(-most, most - 1)


def _dequantize(codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    return (codes * scales.float()[..., None]).flatten(1)


def _group_size(columns: int) -> int:
    """The largest even divisor of the number of columns within limits; 0 if none."""
    sizes = range(_LARGEST_GROUP, _SMALLEST_GROUP - 1, -2)
    return next((size for size in sizes if columns % size == 0), 0)


def _pack(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Two codes of 4 bits in a byte: (rows, groups, group size / 2)."""
    codes = codes.to(torch.int8)
    if bits == 8:
        return codes
    codes = (codes + 8).to(torch.uint8)
    return codes[..., 0::2] | (codes[..., 1::2] << 4)


def _unpack(packed: torch.Tensor) -> torch.Tensor:
    if packed.dtype == torch.int8:
        return packed
    pairs = torch.stack([packed & 15, packed >> 4], dim=3)
    return pairs.flatten(2).to(torch.int8) - 8
