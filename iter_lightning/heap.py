"""Limit the memory that a long-running process keeps: freed buffers, oneDNN's cache, garbage collection."""

from __future__ import annotations

import ctypes
import gc
import os
import platform

LARGE_BYTES = 2**20
"""Smallest buffer, in bytes, that gets its own memory mapping."""
ONEDNN_CACHE = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16", "LRU_CACHE_CAPACITY": "16"}
"""Environment variables with the capacity of oneDNN's two caches. One batch needs about ten primitives."""
M_MMAP_THRESHOLD = -3
"""Number of this parameter of `mallopt` in glibc's malloc.h."""


def return_large_buffers() -> None:
    """Return large buffers to the operating system as soon as they are freed.

    While a process runs, glibc raises the size from which it does this, up to 32 MiB. Batches of many shapes then leave
    holes in a heap that never shrinks, about a fifth of the memory of a training step on CPU. The function does nothing
    for other C libraries, or if the environment sets MALLOC_MMAP_THRESHOLD_.
    """
    if platform.libc_ver()[0] == "glibc" and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def limit_onednn_cache() -> None:
    """Limit oneDNN's primitive cache. Must be called before torch is imported.

    By default, oneDNN keeps 1,024 compiled primitives of about 1 MB each, one for every number of rows. The number of
    subwords in a batch of texts varies, so the cache would grow by a gigabyte.
    """
    for name, capacity in ONEDNN_CACHE.items():
        os.environ.setdefault(name, capacity)


def freeze_heap() -> None:
    """Exclude all current objects from garbage collection with `gc.freeze`.

    After imports and model loading there are about 500,000 long-lived objects. A full collection, every few thousand
    documents, would take a quarter of a second to visit them.
    """
    gc.collect()
    gc.freeze()
