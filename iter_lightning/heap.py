"""What a long-running process keeps of memory: freed buffers, compiled products."""

from __future__ import annotations

import ctypes
import gc
import os
import platform

LARGE = 2**20
"""Bytes; a buffer of at least so many gets a mapping of its own."""
PRODUCTS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16", "LRU_CACHE_CAPACITY": "16"}
"""Environment: how many compiled products oneDNN's two caches keep; a batch needs about ten."""
M_MMAP_THRESHOLD = -3  # its number in glibc's malloc.h


def return_large_buffers() -> None:
    """Have large buffers go back to the system as soon as they are freed.

    glibc raises the size from which it does so up to 32 MiB while a process runs. Batches of many shapes then leave
    holes in a heap that never shrinks: a fifth of what a training step takes on a CPU. Does nothing where the C
    library is another, or where the environment sets MALLOC_MMAP_THRESHOLD_.
    """
    if platform.libc_ver()[0] == "glibc" and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


def keep_few_products() -> None:
    """Let oneDNN keep few compiled products; has an effect before torch is imported alone.

    It compiles one for every number of rows and keeps 1024 of them, about 1 MB each: batches of texts have any number
    of subwords, and memory would grow by a gigabyte.
    """
    for name, capacity in PRODUCTS.items():
        os.environ.setdefault(name, capacity)


def settle() -> None:
    """Take what is loaded out of the garbage collector's sight, for good: imports and models are 500,000 objects.

    Every few thousand documents it would look at all of them again, for a quarter of a second.
    """
    gc.collect()
    gc.freeze()
