"""The device of `device = "auto"`: the one that spaCy was told to use."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from thinc.compat import has_cupy_gpu
from thinc.util import get_torch_default_device


def resolve_device(device: str) -> str:
    """Resolve "auto" to the device that spaCy was told to use.

    With CuPy, spaCy itself can use the GPU, and "auto" follows it: the GPU after
    `spacy.prefer_gpu()`, `spacy.require_gpu()` or `--gpu-id 0`, and else the CPU.

    Without CuPy, `prefer_gpu` changes nothing, and `require_cpu` cannot be told from
    spaCy's default. Only `--gpu-id -1` on spaCy's command line then means the CPU.

    device (str): The setting.
    RETURNS (str): A torch device. "auto" if spaCy was told nothing: CUDA if torch sees
        it, else the CPU. A setting other than "auto" is returned unchanged.
    """
    if device != "auto":
        return device
    if has_cupy_gpu and torch.cuda.is_available():
        return str(get_torch_default_device())
    return "cpu" if _asks_for_cpu(sys.argv) else device


def _asks_for_cpu(argv: Sequence[str]) -> bool:
    """Whether this is spaCy's command line with `--gpu-id -1`, which is its default
    too: spaCy's code sees no difference between the two."""
    program, *args = argv or [""]
    path = Path(program)  # .../bin/spacy or .../spacy/__main__.py
    if "spacy" not in {path.stem, path.parent.name}:
        return False
    pairs = {f"{option}={value}" for option, value in pairwise(args)}
    return not pairs.union(args).isdisjoint({"--gpu-id=-1", "-g=-1", "-g-1"})
