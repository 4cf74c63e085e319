"""Peak memory of a piece of work."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from spacy_padellm.lm.memory import release_free_memory

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


@dataclass(slots=True)
class Peak:
    """Bytes at the peak beyond those before; None where it cannot be told."""

    size: int | None = None


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure how much memory the work inside takes at its peak.

    On CUDA it is torch's own count; on the CPU (Linux) the process's resident memory,
    whose high-water mark is set back before.

    device (torch.device): Whose memory.
    YIELDS (Peak): Filled at the end.
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
    known = _set_back()
    start = _resident("VmRSS") if known else 0
    yield peak
    if known:
        peak.size = max(0, _resident("VmHWM") - start)


def _set_back() -> bool:
    """Make the high-water mark the memory of now; gives whether that works here."""
    # freed memory that the allocator keeps would hide what comes next
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
