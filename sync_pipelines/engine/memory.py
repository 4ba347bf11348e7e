"""Memory that allocators keep after it was freed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

import pyarrow as pa


def hold_little() -> None:
    """Arrow's own pool keeps what was freed: 20 to 40 MB of the peak of a process that loads a table, and 60 of one
    that proves it.
    """
    if pa.default_memory_pool().backend_name == "mimalloc":
        pa.set_memory_pool(pa.system_memory_pool())


def give_back() -> None:
    """Give freed memory back to the system: glibc keeps what lies between two pieces that are in use, and a process
    that writes files of 16 MB one after the other was 100 MB larger for it. Nothing elsewhere than on glibc.
    """
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return lambda _: None
