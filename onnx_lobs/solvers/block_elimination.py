"""Greedy elimination of whole blocks, rows x columns, all weights of a block at once.

The rows of one block-row share their support, hence one G (see
:mod:`onnx_lobs.solvers.elimination`). A block b of c columns costs ``½ sum over rows of
w_b (G_bb)⁻¹ w_bᵀ``; its removal moves each row by ``-w_b (G_bb)⁻¹ G_b`` and downdates G by rank c.
One column wide, this is the elimination of single columns with several rows to a unit.

Paper: Frantar, Alistarh, Optimal Brain Compression, NeurIPS 2022 (arXiv 2208.11580), section 4.
Cost per block-row: about n³ flops and n³/c numbers moved; n² numbers of memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_lobs.pattern import Block, FloatArray, IntArray
from onnx_lobs.solvers.elimination import CUT, eliminate
from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.scaled import Scaled
from onnx_lobs.solvers.workers import map_batches

Float = NDArray[np.floating[Any]]
BATCH_BYTES = 24 << 20
TIE = 1e-12


def block_costs(problem: Problem, scaled: Scaled) -> FloatArray:
    """Return what the removal of each weight's block cost, shared by its weights, monotone.

    Returns
    -------
    (groups, rows, d) float64, as :func:`onnx_lobs.solvers.exact_obs.elimination_costs`.
    """
    pattern = problem.pattern
    assert isinstance(pattern, Block)
    groups, rows, columns = problem.shape
    blocks, real = block_columns(columns, problem.taps, pattern.columns)
    high = -(-rows // pattern.rows)
    free = np.zeros((groups, high * pattern.rows, columns), dtype=scaled.dtype)
    free[:, :rows] = scaled.free.reshape(problem.shape)
    units = free.reshape(groups * high, pattern.rows, columns)
    group = np.repeat(np.arange(groups), high)
    most = problem.room.batch(BATCH_BYTES) // (scaled.inverse.itemsize * columns * columns)
    batch = max(1, min(64, most))

    def one(start: int) -> tuple[IntArray, FloatArray]:
        part = slice(start, start + batch)
        return eliminate_blocks(scaled.inverse, group[part], units[part], blocks, real)

    results = map_batches(one, range(0, len(units), batch), problem.room.workers)
    spread = np.zeros((len(units), blocks.shape[0]))
    for start, (order, cost) in zip(range(0, len(units), batch), results, strict=True):
        monotone = np.maximum.accumulate(cost, axis=1) * (1 + TIE * np.arange(cost.shape[1]))
        np.put_along_axis(spread[start : start + batch], order, monotone, axis=1)
    height = np.minimum(rows - np.arange(high) * pattern.rows, pattern.rows)
    spread /= np.tile(height, groups)[:, None] * real.sum(axis=1)
    scores = np.zeros((len(units), columns))
    for place in range(pattern.columns):
        some = real[:, place]
        scores[:, blocks[some, place]] = spread[:, some]
    wide = scores.reshape(groups, high, columns).repeat(pattern.rows, axis=1)
    return np.ascontiguousarray(wide[:, :rows])


def block_columns(columns: int, taps: int, width: int) -> tuple[IntArray, NDArray[np.bool_]]:
    """Return the columns of each block, (blocks, width), and which of them exist.

    Blocks run along the channels at one tap; the last one of a tap may be short.
    """
    channels = columns // taps
    starts = np.arange(0, channels, width)
    channel = starts[:, None] + np.arange(width)
    real = (channel < channels).repeat(taps, axis=0)
    wide = channel[:, None, :] * taps + np.arange(taps)[:, None]
    blocks = wide.reshape(-1, width)
    return np.where(real, blocks, 0), real


def eliminate_blocks(
    inverse: Float, group: IntArray, weight: Float, blocks: IntArray, real: NDArray[np.bool_]
) -> tuple[IntArray, FloatArray]:
    """Return the order of all blocks and their costs, (units, blocks) each.

    Parameters
    ----------
    inverse, group
        G (groups, d, d) and the group of each unit. Not modified.
    weight
        (units, rows, d). Not modified.
    blocks, real
        As :func:`block_columns` gives them.
    """
    if blocks.shape[1] == 1:
        trace = eliminate(inverse[group], weight.copy(), len(blocks))
        place = np.empty(len(blocks), dtype=np.int64)
        place[blocks[:, 0]] = np.arange(len(blocks))
        return place[trace.order], trace.cost.astype(np.float64)
    return _Blocks(inverse[group], weight, blocks, real).run()


class _Blocks:
    """State of one batch: columns laid out block by block, short blocks padded by identity."""

    def __init__(
        self, inverse: Float, weight: Float, blocks: IntArray, real: NDArray[np.bool_]
    ) -> None:
        self.width = blocks.shape[1]
        flat, exists = blocks.ravel(), real.ravel()
        self.inverse = inverse.take(flat, axis=1).take(flat, axis=2)
        self.inverse *= exists[:, None] & exists
        each = np.flatnonzero(~exists)
        self.inverse[:, each, each] = 1.0
        self.weight = weight.take(flat, axis=2) * exists
        units = len(weight)
        self.index = np.broadcast_to(np.arange(len(blocks)), (units, len(blocks))).copy()
        self.alive = np.ones((units, len(blocks)), dtype=np.bool_)

    def run(self) -> tuple[IntArray, FloatArray]:
        """Eliminate every block."""
        units, total = self.alive.shape
        order = np.empty((units, total), dtype=np.int64)
        cost = np.empty((units, total))
        rows = np.arange(units)
        for step in range(total):
            if total - step < CUT * self.alive.shape[1]:
                self._cut(total - step)
            scores = self._scores()
            scores[~self.alive] = np.inf
            pivot = scores.argmin(axis=1)
            order[:, step] = self.index[rows, pivot]
            cost[:, step] = 0.5 * scores[rows, pivot]
            self.alive[rows, pivot] = False
            if step + 1 < total:
                self._remove(rows, pivot)
        return order, cost

    def _scores(self) -> Float:
        """Return ``w_b (G_bb)⁻¹ w_bᵀ`` summed over rows, by Gauss elimination in all blocks."""
        units, blocks = self.alive.shape
        c = self.width
        parts = self.inverse.reshape(units, blocks, c, blocks, c)
        each = np.arange(blocks)
        inner = parts[:, each, :, each, :].transpose(1, 0, 2, 3).copy()  # (units, blocks, c, c)
        side = self.weight.reshape(units, -1, blocks, c).transpose(0, 2, 3, 1).copy()
        total = np.zeros((units, blocks), dtype=inner.dtype)
        for i in range(c):
            pivot = np.maximum(inner[:, :, i, i], np.finfo(inner.dtype).tiny)
            total += np.square(side[:, :, i]).sum(axis=2) / pivot
            for j in range(i + 1, c):
                factor = inner[:, :, j, i] / pivot
                inner[:, :, j, i + 1 :] -= factor[:, :, None] * inner[:, :, i, i + 1 :]
                side[:, :, j] -= factor[:, :, None] * side[:, :, i]
        return total

    def _remove(self, rows: IntArray, pivot: IntArray) -> None:
        places = pivot[:, None] * self.width + np.arange(self.width)
        across = np.take_along_axis(self.inverse, places[:, :, None], axis=1)  # (units, c, n)
        inner = np.take_along_axis(across, places[:, None, :], axis=2)
        lower = np.linalg.cholesky(inner)
        held = np.linalg.solve(lower, across)
        own = np.linalg.solve(
            lower, np.take_along_axis(self.weight, places[:, None, :], axis=2).swapaxes(1, 2)
        )
        self.weight -= own.swapaxes(1, 2) @ held
        for matrix, factor in zip(self.inverse, held, strict=True):
            matrix -= factor.T @ factor
        self.inverse[rows[:, None], places, places] = 1.0

    def _cut(self, left: int) -> None:
        """Keep the blocks that are still there."""
        keep = np.sort(np.argsort(~self.alive, axis=1, kind="stable")[:, :left], axis=1)
        places = (keep[:, :, None] * self.width + np.arange(self.width)).reshape(len(keep), -1)
        self.inverse = np.stack(
            [m.take(p, axis=0).take(p, axis=1) for m, p in zip(self.inverse, places, strict=True)]
        )
        self.weight = np.take_along_axis(self.weight, places[:, None, :], axis=2)
        self.alive = np.take_along_axis(self.alive, keep, axis=1)
        self.index = np.take_along_axis(self.index, keep, axis=1)
