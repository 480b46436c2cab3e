"""Batches of rows on several threads, each with one BLAS thread.

LAPACK and NumPy release the interpreter's lock, and many small factorisations gain nothing from
a threaded BLAS: on two cores, two threads of rows took 0.55 of the time of one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar("T")
R = TypeVar("R")


def count_workers() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def map_batches(function: Callable[[T], R], batches: Sequence[T]) -> list[R]:
    """Return ``[function(b) for b in batches]``, computed on all cores.

    The order of the results is that of the batches, so they do not depend on timing. The first
    exception is raised again.
    """
    workers = min(count_workers(), len(batches))
    if workers <= 1:
        return [function(batch) for batch in batches]
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, batches))
