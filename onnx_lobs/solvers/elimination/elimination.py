"""Eliminates weights greedily, many rows in lockstep, with blocked downdates.

A bundle is a row w of candidates (or several rows with one support) with G, the inverse of the
Hessian that the candidates have once all other weights are optimal. Removing weight p costs
``w_p² / (2 G_pp)``, summed over the bundle's rows, and leaves the optimum of the remaining ones::

    p = argmin w_p² / G_pp     w -= w_p / G_pp G_p     G -= G_p G_pᵀ / G_pp

The last B eliminations are held in U (B, n) with ``G_now = G - UᵀU`` never formed: a step reads
one row of G, corrects it by U and updates w and the diagonal. Every B steps G is downdated by one
SYRK (its lower triangle only), and what is settled is cut out when that pays. Where loops can be
compiled (:mod:`onnx_lobs.linalg.compiled`) each bundle takes its B steps by itself, which is two to
four times as fast: U stays in the core's own cache. Otherwise each bundle does its t-th step
together with all others of the batch, so Python's overhead is shared.

Paper: Frantar, Alistarh, Optimal Brain Compression, NeurIPS 2022 (arXiv 2208.11580); Hassibi,
Stork 1993. Cost per bundle: n³/3 flops in SYRK, B n² / 2 in products of a vector and U.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_lobs.arrays import BoolArray, IntArray, RealArray
from onnx_lobs.linalg import compiled, lapack
from onnx_lobs.patterns import Quota
from onnx_lobs.solvers.elimination.elimination_loop import advance

BLOCKS = ((256, 32), (1536, 64))  # up to so many candidates, so many are held back
LONG_BLOCK = 128  # beyond
CUT = 0.8  # settled candidates are cut out of G when fewer than this share is left


@dataclass(frozen=True)
class Trace:
    """In which order candidates went and what each cost.

    Attributes
    ----------
    order
        (bundles, steps) uint16 or uint32 positions; meaningless where `cost` is infinite, which it
        is once a bundle has run out of candidates.
    cost
        (bundles, steps) float32: what the step adds to ½ of the quadratic, >= 0.
    """

    order: NDArray[np.unsignedinteger[Any]]
    cost: NDArray[np.float32]


def eliminate(
    inverse: RealArray,
    weight: RealArray,
    steps: int,
    real: BoolArray | None = None,
    quota: Quota | None = None,
) -> Trace:
    """Eliminate `steps` candidates of every bundle, the cheapest first.

    Parameters
    ----------
    inverse
        G (bundles, n, n), symmetric, float32 or float64. **Overwritten**; only its lower triangle
        is read after the first block.
    weight
        w (bundles, rows, n). **Overwritten.**
    steps
        Eliminations per bundle, <= n.
    real
        (bundles, n) bool; False marks padding, which is never eliminated. G must be the identity
        there.
    quota
        The window that each candidate is in, (n,) or (bundles, n), and the number that may go from
        each window, (windows,); None: no limit.
    """
    return Elimination(inverse, weight, steps, real, quota).run()


class Elimination:
    """The state of one batch: G, w, diag, U and which original candidate each column is.

    `settled` (bundles, candidates) is infinite for those gone or not to be touched, else zero.
    """

    width = 1  # columns that go at a step

    def __init__(
        self,
        inverse: RealArray,
        weight: RealArray,
        steps: int,
        real: BoolArray | None,
        quota: Quota | None,
    ) -> None:
        # how many eliminations are held back before G is downdated
        rows, _, n = weight.shape
        self.steps = steps
        block = next((block for most, block in BLOCKS if n < most), LONG_BLOCK)
        self.block = max(block // self.width, 1) * self.width
        self.inverse, self.weight = list(inverse), weight
        self.scratch = np.empty(0, dtype=inverse.dtype)
        self.diagonal = np.diagonal(inverse, axis1=1, axis2=2).copy()
        # candidates by their original number, and which are settled
        kind = np.uint16 if n < 1 << 16 else np.uint32
        count = n // self.width
        self.column = np.broadcast_to(np.arange(count, dtype=kind), (rows, count)).copy()
        self.settled = np.zeros((rows, count), dtype=inverse.dtype)
        if real is not None:
            self.settled[~real] = np.inf
        self.window: IntArray | None = None
        if quota is not None:
            # copies of one type: for a view that cannot be written a loop is compiled anew
            self.window = np.broadcast_to(quota.window, (rows, n)).astype(np.int64, order="C")
            self.left = np.tile(quota.zeros.astype(np.int64), (rows, 1))
            self.settled[np.take_along_axis(self.left, self.window, axis=1) <= 0] = np.inf
        # what is found, and U
        self.order = np.zeros((rows, steps), dtype=kind)
        self.cost = np.full((rows, steps), np.inf, dtype=np.float32)
        self.held = np.empty((rows, self.block, n), dtype=inverse.dtype)

    def run(self) -> Trace:
        """Do all steps."""
        if self.width == 1 and compiled.is_available():
            return self._run_apart()
        rows = np.arange(len(self.weight))
        with np.errstate(invalid="ignore", over="ignore"):
            for step in range(self.steps):
                at = step * self.width % self.block
                if step and at == 0:
                    self._downdate()
                self._step(rows, step, at)
        return Trace(self.order, self.cost)

    def _run_apart(self) -> Trace:
        """Do all steps, each bundle by itself between two downdates."""
        tiny, nothing = float(np.finfo(self.held.dtype).tiny), np.zeros(0, dtype=np.int64)
        for start in range(0, self.steps, self.block):
            if start:
                self._downdate()
            steps = slice(start, min(start + self.block, self.steps))
            for bundle, inverse in enumerate(self.inverse):
                advance(
                    inverse,
                    self.weight[bundle],
                    self.diagonal[bundle],
                    self.settled[bundle],
                    self.held[bundle],
                    self.column[bundle],
                    nothing if self.window is None else self.window[bundle],
                    nothing if self.window is None else self.left[bundle],
                    self.order[bundle, steps],
                    self.cost[bundle, steps],
                    tiny,
                )
        return Trace(self.order, self.cost)

    def _step(self, rows: IntArray, step: int, at: int) -> None:
        # the cheapest candidate of each bundle, and what it costs
        scores = self._scores()
        pivot = scores.argmin(axis=1)
        best = scores[rows, pivot]
        self.order[:, step] = self.column[rows, pivot]
        self.cost[:, step] = 0.5 * best
        # the others move to their new optimum
        done = ~np.isfinite(best)
        self._remove(rows, pivot, at, done)
        self.settled[rows, pivot] = np.inf
        if self.window is not None:
            # one fewer may go from the window; once none may, the rest of it stays
            window = self.window[rows, pivot]
            self.left[rows, window] -= ~done
            full = np.flatnonzero(self.left[rows, window] == 0)
            some = self.settled[full]
            some[self.window[full] == window[full, None]] = np.inf
            self.settled[full] = some

    def _remove(self, rows: IntArray, pivot: IntArray, at: int, done: BoolArray) -> RealArray:
        """Remove one column of each bundle that is not `done`; return the new rows of U."""
        # the pivot's row of G as it is now: G's own, less what U holds
        row = self._row(pivot)
        if at:
            factors = self.held[rows, :at, pivot]
            row -= np.matmul(factors[:, None, :], self.held[:, :at])[:, 0]
        # G_p / sqrt(G_pp) is the next row of U
        tiny = np.finfo(row.dtype).tiny
        root = 1 / np.sqrt(np.maximum(self.diagonal[rows, pivot], tiny))
        root[done] = 0.0
        row *= root[:, None]
        self.held[:, at] = row
        # w and the diagonal follow at once, G at the next downdate
        share = self.weight[rows, :, pivot] * root[:, None]
        change = np.empty_like(row)
        for height in range(share.shape[1]):
            self.weight[:, height] -= np.multiply(row, share[:, height, None], out=change)
        self.diagonal -= np.square(row, out=change)
        np.maximum(self.diagonal, tiny, out=self.diagonal)
        return row

    def _scores(self) -> RealArray:
        """Return what each candidate's removal costs, twice; infinite for the settled ones."""
        if self.weight.shape[1] == 1:
            scores = np.square(self.weight[:, 0])
        else:
            scores = np.einsum("uhn,uhn->un", self.weight, self.weight)
        scores /= self.diagonal
        scores += self.settled
        return np.asarray(scores)

    def _row(self, pivot: IntArray) -> RealArray:
        """Return row `pivot` of each symmetric G, from its lower triangle."""
        result = np.empty((len(pivot), self.weight.shape[2]), dtype=self.held.dtype)
        for out, matrix, p in zip(result, self.inverse, pivot.tolist(), strict=True):
            out[:p] = matrix[p, :p]
            out[p:] = matrix[p:, p]
        return result

    def _downdate(self) -> None:
        """Apply U to G and cut out the settled candidates when enough are."""
        left = int((self.settled == 0).sum(axis=1).max(initial=0))
        if left < CUT * self.settled.shape[1] and left:
            self._cut(left)
        for matrix, held in zip(self.inverse, self.held, strict=True):
            lapack.syrk(matrix, held, -1.0)

    def _cut(self, left: int) -> IntArray:
        """Keep `left` candidates per bundle: those alive, and a few settled where fewer are."""
        keep = np.sort(np.argsort(self.settled, axis=1, kind="stable")[:, :left], axis=1)
        # U and G keep these columns, each in its own memory
        places = self._columns(keep)
        held = np.empty((len(keep), self.block, places.shape[1]), dtype=self.held.dtype)
        for bundle, columns in enumerate(places):
            self._shrink(bundle, columns)
            self.held[bundle].take(columns, axis=1, out=held[bundle], mode="clip")
        # and so does all that is said of them
        self.held = held
        self.weight = np.take_along_axis(self.weight, places[:, None, :], axis=2)
        self.diagonal = np.take_along_axis(self.diagonal, places, axis=1)
        self.settled = np.take_along_axis(self.settled, keep, axis=1)
        self.column = np.take_along_axis(self.column, keep, axis=1)
        if self.window is not None:
            self.window = np.take_along_axis(self.window, keep, axis=1)
        return keep

    def _shrink(self, bundle: int, columns: IntArray) -> None:
        """Keep some columns of one G, in its own memory: fresh pages cost more than the copy."""
        matrix, size = self.inverse[bundle], columns.size
        if self.scratch.size < size * len(matrix):
            self.scratch = np.empty(size * len(matrix), dtype=matrix.dtype)
        rows = self.scratch[: size * len(matrix)].reshape(size, len(matrix))
        matrix.take(columns, axis=0, out=rows, mode="clip")
        smaller = matrix.ravel()[: size * size].reshape(size, size)
        rows.take(columns, axis=1, out=smaller, mode="clip")
        self.inverse[bundle] = smaller

    def _columns(self, keep: IntArray) -> IntArray:
        """Return the columns of the kept candidates."""
        return keep
