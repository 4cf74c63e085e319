"""Peak memory of a piece of work."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from spacy_padellm.lm.devices.memory import release_free_memory

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


@dataclass(slots=True)
class Peak:
    """Additional bytes at the peak; None if they cannot be measured."""

    size: int | None = None


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the peak memory of the work in a `with` block.

    On CUDA this is the memory that torch allocates. On the CPU (Linux) it is the
    resident memory of the process, whose high-water mark is reset at the start.

    device (torch.device): The device.
    YIELDS (Peak): Set at the end of the block.
    """
    peak = Peak()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        torch.cuda.synchronize(device)
        peak.size = torch.cuda.max_memory_allocated(device) - before
        return
    known = _reset_peak()
    start = _resident("VmRSS") if known else 0
    yield peak
    if known:
        peak.size = max(0, _resident("VmHWM") - start)


def _reset_peak() -> bool:
    """Reset the high-water mark; returns whether the system supports it."""
    # memory that the allocator keeps after free would hide new allocations
    if not release_free_memory():
        return False
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def _resident(field: str) -> int:
    for line in _STATUS.read_text("ascii", errors="replace").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0
