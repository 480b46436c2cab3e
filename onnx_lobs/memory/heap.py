"""The C library's heap: what is free in it, given back to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import lru_cache


def trim_heap() -> None:
    """Give free pages of the heap back to the system, where the C library has a call for it.

    Tensors of up to 32 MB lie in the heap of glibc; it only shrinks at its end by itself, so
    that one small block above them keeps the pages of all that were freed.
    """
    _trimmer()(0)


@lru_cache(maxsize=1)
def _trimmer() -> Callable[[int], object]:
    """Return glibc's ``malloc_trim``; elsewhere a function that does nothing."""
    if not sys.platform.startswith("linux"):
        return lambda pad: None
    found: Callable[[int], object] = getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)
    return found
