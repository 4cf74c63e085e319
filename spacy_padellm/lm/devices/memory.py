"""The memory of a process, which must not grow with the texts it decodes."""

from __future__ import annotations

import ctypes
import os

# torch has two caches of matrix kernels: oneDNN's own and one around it
KERNEL_CACHE_VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
# passes have a few sizes, and the layers of a model share their kernels
MAX_CACHED_KERNELS = 128


def limit_kernel_caches() -> None:
    """Make torch cache few matrix kernels; call it before the first matrix product.

    torch compiles a kernel of up to 0.5 MiB for each shape of a product, and keeps 1024
    in each cache. Batches of texts bring ever new shapes. Values that the user has set
    in the environment are kept.
    """
    for variable in KERNEL_CACHE_VARIABLES:
        os.environ.setdefault(variable, str(MAX_CACHED_KERNELS))


def release_free_memory() -> bool:
    """Return the C library's unused heap memory to the operating system.

    RETURNS (bool): Whether that is possible here; only glibc can do it.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return False
    return True
