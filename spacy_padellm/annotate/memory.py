"""A worker's memory, which must not grow with the corpus."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

# torch has two caches of matrix kernels, oneDNN's own and one around it
KERNEL_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
# the layers of a pass have these in common
KERNELS = 64


def bound_kernels() -> None:
    """Let torch keep few matrix kernels; to be called before its first product.

    A kernel is made for each shape of a product, and takes up to half a MiB. Batches
    of texts have no end of shapes, and torch would keep 1024 in each cache. What the
    user has set in the environment stays.
    """
    for variable in KERNEL_CACHES:
        os.environ.setdefault(variable, str(KERNELS))


def trim() -> None:
    """Give free memory back to the system, where the C library can do it."""
    # glibc has it, and no other
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
