"""Cuts the rows of a layer into batches, so that a solve takes no more memory than it may.

A solve holds d x d arrays (the damped Hessian, its factor or inverse, both scaled), arrays like
W (values, multipliers, scores, masks), and the batches of rows on which the threads work. The
first two are what the problem needs; the batches are sized from what is left, on fewer threads
when not every thread's row would fit.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx_lobs.errors import ConfigError
from onnx_lobs.linalg.workers import count_workers

SQUARES = 6  # d x d float64 arrays per group that are held at once
PLANES = 16  # arrays like W in float64, all methods
LARGE_SQUARE = 128 << 20  # bytes of one of them, 4,096 inputs: from here on none is held for later
ROW_BYTES = 16  # times d²: gathering, factoring and cutting one row in float64
BATCH_SHARE = 2  # a batch's matrices are copied once while they are cut or factored
LEAST_BATCHES = 8 << 20  # smaller ones cost far more time than they save memory


@dataclass(frozen=True)
class Batching:
    """How rows are shared out: threads, and the bytes of each one's batch (None: no limit)."""

    workers: int
    most_bytes: int | None = None

    def size(self, wanted: int) -> int:
        """Return the bytes of a batch that would like to have `wanted`."""
        return wanted if self.most_bytes is None else min(wanted, self.most_bytes)


def make_batching(shape: tuple[int, int, int], memory: int | None) -> Batching:
    """Return how the rows of a problem of (groups, rows, d) are cut.

    Parameters
    ----------
    memory
        Bytes that the solve may allocate beyond the arrays it is given; None: no limit.

    Raises
    ------
    ConfigError
        When not even one row at a time fits; the message names the least that would do.
    """
    if memory is None:
        return Batching(count_workers())
    least = least_memory(shape)
    if memory < least:
        raise ConfigError(
            f"memory is {memory} bytes; a layer of {shape} (groups, rows, columns) needs at least "
            f"{least}"
        )
    least_work = max(ROW_BYTES * shape[2] ** 2, LEAST_BATCHES)
    free = memory - least + least_work
    workers = min(count_workers(), max(1, free // least_work))
    # a batch has one row in any case, for which the least is meant: more rows get what is beyond it
    return Batching(workers, max((memory - least) // (workers * BATCH_SHARE), LEAST_BATCHES // 2))


def least_memory(shape: tuple[int, int, int]) -> int:
    """Return the bytes with which a problem of (groups, rows, d) can be solved row by row."""
    groups, rows, d = shape
    fixed = 8 * groups * d * (SQUARES * d + PLANES * rows)
    return fixed + max(ROW_BYTES * d**2, LEAST_BATCHES)
