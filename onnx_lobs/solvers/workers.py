"""Batches of rows on several threads, each with one BLAS thread.

LAPACK and NumPy release the interpreter's lock, and many small factorisations gain nothing from
a threaded BLAS.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")
SMALL_LAYER = 1500  # columns: below, one BLAS thread factors as fast as several
WORTH_SHARING = 5e7  # flops: below, starting a thread costs more than it gives


def count_workers() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def map_batches(
    function: Callable[[T], R], batches: Sequence[T], most_workers: int | None = None
) -> list[R]:
    """Return ``[function(b) for b in batches]``, computed on all cores or `most_workers` of them.

    The order of the results is that of the batches, so they do not depend on timing. The first
    exception is raised again.
    """
    workers = min(most_workers or count_workers(), len(batches))
    if workers <= 1:
        return [function(batch) for batch in batches]
    with one_blas_thread(), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, batches))


def one_blas_thread(when: bool = True) -> AbstractContextManager[Any]:
    """Return a context in which BLAS runs on one thread, or nothing unless `when`.

    Threads of OpenBLAS wait by spinning: in products of less than about a millisecond they cost
    more than they give, and far more when another process wants the cores.
    """
    if not when:
        return nullcontext()
    limit: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limit


def multiply(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Return ``left @ right``, (groups, rows, d) by (groups, d, e), rows shared out among cores.

    Unlike the threads of BLAS, those wait without spinning, so a busy machine costs its share and
    no more.
    """
    groups, rows, _ = left.shape
    workers = count_workers()
    if 2 * left.size * right.shape[2] < WORTH_SHARING or workers == 1 or rows < workers:
        return np.asarray(left @ right)
    result = np.empty((groups, rows, right.shape[2]), dtype=left.dtype)
    edges = np.linspace(0, rows, workers + 1).astype(int)

    def one(worker: int) -> None:
        part = slice(edges[worker], edges[worker + 1])
        np.matmul(left[:, part], right, out=result[:, part])

    map_batches(one, range(workers))
    return result


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
