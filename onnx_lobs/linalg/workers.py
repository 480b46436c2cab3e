"""Works on batches of rows with several threads, each with one BLAS thread.

NumPy and :mod:`onnx_lobs.linalg.lapack` release the interpreter's lock, and many small
factorisations gain nothing from a threaded BLAS.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

from onnx_lobs.arrays import Array, IntArray

T = TypeVar("T")
R = TypeVar("R")
SMALL_LAYER = 1500  # columns: below, one BLAS thread factors as fast as several
ROWS_AT_ONCE = 32  # of a gathered matrix: they stay in the cache between both takes
ROWS_APART = 64  # of an upper triangle: more read more that is below the diagonal
FEW = 768  # columns, whose places are quickly looked up one by one
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


def multiply(left: Array, right: Array) -> Array:
    """Return ``left @ right``, (groups, rows, d) by (groups, d, e), rows shared out among cores.

    Unlike the threads of BLAS, those wait without spinning, so a busy machine costs its share and
    no more.
    """
    groups, rows, _ = left.shape
    workers = count_workers() if 2 * left.size * right.shape[2] >= WORTH_SHARING else 1
    if workers == 1 or rows < workers:
        return np.asarray(left @ right)
    result = np.empty((groups, rows, right.shape[2]), dtype=left.dtype)
    edges = np.linspace(0, rows, workers + 1).astype(int)

    def one(worker: int) -> None:
        part = slice(edges[worker], edges[worker + 1])
        np.matmul(left[:, part], right, out=result[:, part])

    map_batches(one, range(workers))
    return result


class ThreadBuffers(threading.local):
    """Memory that each thread reuses: fresh pages cost more than what is written into them."""

    def __init__(self) -> None:
        self._parts: dict[str, Array] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return an array of any content; it shares memory with earlier ones of this `name`."""
        size = math.prod(shape)
        part = self._parts.get(name)
        if part is None or part.dtype != dtype or part.size < size:
            self._parts[name] = part = np.empty(size, dtype)
        return part[:size].reshape(shape)

    def principal(self, matrix: Array, columns: IntArray, out: Array | None = None) -> Array:
        """Return ``matrix[columns][:, columns]`` (c, c), in `out` or in reused memory."""
        size = columns.size
        if out is None:
            out = self.array("square", (size, size), matrix.dtype)
        for start in range(0, size, ROWS_AT_ONCE):
            some = columns[start : start + ROWS_AT_ONCE]
            rows = self.array("rows", (some.size, matrix.shape[1]), matrix.dtype)
            matrix.take(some, axis=0, out=rows, mode="clip")
            rows.take(columns, axis=1, out=out[start : start + some.size], mode="clip")
        return out

    def upper(self, matrix: Array, columns: IntArray) -> Array:
        """Return ``matrix[columns][:, columns]`` (c, c) in reused memory, for its upper triangle.

        What is below the diagonal is anything. Of up to FEW columns, and a matrix in C's order,
        that takes two thirds of the time of :meth:`principal`.
        """
        size = columns.size
        if size > FEW or not matrix.flags.c_contiguous:
            return self.principal(matrix, columns)
        out = self.array("square", (size, size), matrix.dtype)
        flat, starts = matrix.reshape(-1), columns * matrix.shape[1]
        for start in range(0, size, ROWS_APART):
            rows = slice(start, start + ROWS_APART)
            out[rows, start:] = flat.take(starts[rows, None] + columns[start:])
        return out


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
