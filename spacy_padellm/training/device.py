"""The device for `device = "auto"`, from spaCy's GPU settings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch
from thinc.compat import has_cupy_gpu
from thinc.util import get_torch_default_device

from spacy_padellm.errors import Warnings, logger


def resolve_device(device: str) -> str:
    """Resolve "auto" to the device that was selected in spaCy.

    With CuPy, spaCy can use the GPU, and "auto" is spaCy's device: the GPU after
    `spacy.prefer_gpu()`, `spacy.require_gpu()` or `--gpu-id 0`, otherwise the CPU,
    with a warning that a GPU is there.

    Without CuPy, spaCy is always on the CPU: `prefer_gpu` has no effect, and
    `require_cpu` changes nothing that could be detected. Then "auto" is the CPU if
    spaCy's command line has `--gpu-id -1`; otherwise it stays "auto", which is CUDA if
    torch supports it, else the CPU. Set `device = "cpu"` to be sure of the CPU.

    device (str): The setting; any other than "auto" is returned unchanged.
    RETURNS (str): A torch device, or "auto".
    """
    if device != "auto":
        return device
    if has_cupy_gpu and torch.cuda.is_available():
        current = str(get_torch_default_device())
        if current == "cpu":
            _warn_of_unused_gpu()
        return current
    return "cpu" if _asks_for_cpu(sys.argv) else device


@cache  # once per process
def _warn_of_unused_gpu() -> None:
    logger.warning(Warnings.W106)


def _asks_for_cpu(argv: Sequence[str]) -> bool:
    """Whether this is spaCy's command line with an explicit `--gpu-id -1`.

    spaCy's commands do not distinguish it from their default, which is -1 too.
    """
    program, *args = argv or [""]
    path = Path(program)  # .../bin/spacy or .../spacy/__main__.py
    if "spacy" not in {path.stem, path.parent.name}:
        return False
    pairs = {f"{option}={value}" for option, value in pairwise(args)}
    return not pairs.union(args).isdisjoint({"--gpu-id=-1", "-g=-1", "-g-1"})
