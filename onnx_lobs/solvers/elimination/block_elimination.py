"""Eliminates whole blocks greedily, rows x columns, all weights of a block at once.

The rows of one block-row share their support, hence one G (see
:mod:`onnx_lobs.solvers.elimination.elimination`). A block b of c columns costs ``½ sum over rows of
w_b (G_bb)⁻¹ w_bᵀ``; its removal is that of its columns one after the other, held back in U like
any other. The c x c matrices G_bb of all blocks follow each removal; the rest of G waits for the
next SYRK. One column wide, this is the elimination of single columns with several rows to a
bundle.

Paper: Frantar, Alistarh, Optimal Brain Compression, NeurIPS 2022 (arXiv 2208.11580), section 4.
Cost per block-row: n³/3 flops in SYRK, and n² (c² + B / 2) in vectors; n² numbers of memory.
"""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import BoolArray, FloatArray, IntArray, RealArray
from onnx_lobs.linalg.workers import map_batches
from onnx_lobs.solvers.elimination.elimination import Elimination, Trace, eliminate
from onnx_lobs.solvers.elimination.tiles import Tiles
from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.scaled import Scaled

BATCH_BYTES = 96 << 20
TIE = 1e-12


def block_costs(problem: Problem, scaled: Scaled) -> FloatArray:
    """Return what the removal of each weight's block cost, shared by its weights, monotone.

    Returns
    -------
    (groups, rows, d) float64, as :func:`onnx_lobs.solvers.exact_obs.elimination_costs`.
    """
    tiles = Tiles.of(problem)
    bundles, group = tiles.gather(scaled.free), tiles.group
    columns = problem.shape[2]
    most = problem.batching.size(BATCH_BYTES) // (scaled.inverse.itemsize * columns * columns)
    batch = max(1, min(64, most))
    places = np.where(tiles.real, tiles.columns, -1).T.ravel()

    def one(start: int) -> Trace:
        part = slice(start, start + batch)
        chosen = np.broadcast_to(places, (len(group[part]), places.size))
        inverse = _laid_out(scaled.inverse, group[part], places)
        weight = bundles[part].take(np.maximum(places, 0), axis=2) * (places >= 0)
        return eliminate_blocks(inverse, weight, tiles.width, chosen >= 0)

    # eliminate all bundles, in batches on all cores
    traces = map_batches(one, range(0, len(bundles), batch), problem.batching.workers)
    # each block's cost, made monotone along the order in which the blocks went
    spread = np.zeros((len(bundles), len(tiles.columns)))
    for start, trace in zip(range(0, len(bundles), batch), traces, strict=True):
        cost = trace.cost.astype(np.float64)
        monotone = np.maximum.accumulate(cost, axis=1) * (1 + TIE * np.arange(cost.shape[1]))
        order = trace.order.astype(np.int64)
        np.put_along_axis(spread[start : start + batch], order, monotone, axis=1)
    # shared equally by the weights of the block
    spread /= tiles.heights[:, None] * tiles.real.sum(axis=1)
    scores = np.zeros((len(bundles), columns))
    for place in range(tiles.width):
        some = tiles.real[:, place]
        scores[:, tiles.columns[some, place]] = spread[:, some]
    return np.asarray(tiles.spread(scores).reshape(problem.shape))


def _laid_out(inverse: RealArray, group: IntArray, places: IntArray) -> RealArray:
    """Return G of each bundle with its columns as `places` has them; identity where that is -1."""
    own, back = np.unique(group, return_inverse=True)
    some, real = np.maximum(places, 0), places >= 0
    laid = inverse[own].take(some, axis=1).take(some, axis=2)
    laid *= real[:, None] & real
    each = np.flatnonzero(~real)
    laid[:, each, each] = 1.0
    return np.asarray(laid[back])


def eliminate_blocks(
    inverse: RealArray, weight: RealArray, width: int, real: BoolArray, steps: int | None = None
) -> Trace:
    """Return the order of the blocks and their costs, (bundles, steps) each.

    Parameters
    ----------
    inverse, weight
        G (bundles, n, n) and w (bundles, rows, n), n = width * blocks: first the first column of
        every block, then the second of every block. **Overwritten.**
    width
        Columns of a block.
    real
        (bundles, n) bool; False marks padding, where G is the identity and w zero. A block whose
        first column is padding is never eliminated.
    steps
        Blocks to eliminate per bundle; None: all.
    """
    blocks = weight.shape[2] // width
    steps = blocks if steps is None else steps
    if width == 1:
        return eliminate(inverse, weight, steps, real)
    return _Blocks(inverse, weight, steps, real[:, :blocks], width).run()


class _Blocks(Elimination):
    """The state of one batch; `alive`, `column` and `settled` count blocks, not columns."""

    def __init__(
        self, inverse: RealArray, weight: RealArray, steps: int, real: BoolArray, width: int
    ) -> None:
        self.width = width
        super().__init__(inverse, weight, steps, real, None)
        parts = inverse.reshape(len(inverse), width, real.shape[1], width, real.shape[1])
        each = np.arange(real.shape[1])
        self.inner = parts[:, :, each, :, each].transpose(1, 2, 3, 0).copy()  # (bundles, c, c, b)

    def _step(self, rows: IntArray, step: int, at: int) -> None:
        # the cheapest block of each bundle
        scores = self._scores()
        pivot = scores.argmin(axis=1)
        best = scores[rows, pivot]
        self.order[:, step] = self.column[rows, pivot]
        self.cost[:, step] = 0.5 * best
        self.settled[rows, pivot] = np.inf
        # its columns go one after the other; the matrices G_bb of all blocks follow
        blocks, done = self.settled.shape[1], ~np.isfinite(best)
        for place in range(self.width):
            row = self._remove(rows, pivot + place * blocks, at + place, done)
            parts = row.reshape(len(row), self.width, blocks)
            self.inner -= parts[:, :, None] * parts[:, None]

    def _scores(self) -> RealArray:
        """Return ``w_b (G_bb)⁻¹ w_bᵀ`` summed over rows, by Gauss elimination in all blocks."""
        tiny = np.finfo(self.inner.dtype).tiny
        inner = self.inner.copy()
        side = self.weight.reshape(*self.weight.shape[:2], self.width, -1).copy()
        total = np.zeros_like(self.settled)
        # column by column: the square over the pivot, then what is left of the other columns
        for i in range(self.width):
            pivot = np.maximum(inner[:, i, i], tiny)
            total += np.square(side[:, :, i]).sum(axis=1) / pivot
            if i + 1 < self.width:
                factor = inner[:, i + 1 :, i] / pivot[:, None]
                inner[:, i + 1 :, i + 1 :] -= factor[:, :, None] * inner[:, None, i, i + 1 :]
                side[:, :, i + 1 :] -= factor[:, None] * side[:, :, i, None]
        return np.where(self.settled > 0, np.inf, total)  # what is gone may have become NaN

    def _columns(self, keep: IntArray) -> IntArray:
        blocks = self.settled.shape[1]
        wide = keep[:, None, :] + blocks * np.arange(self.width)[:, None]
        return np.asarray(wide.reshape(len(keep), -1))

    def _cut(self, left: int) -> IntArray:
        keep = super()._cut(left)
        self.inner = np.take_along_axis(self.inner, keep[:, None, None], axis=3)
        return keep
