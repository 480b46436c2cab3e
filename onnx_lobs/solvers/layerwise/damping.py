"""Chooses how strongly a layer is damped: by the amount of data, or as held-out data say.

Observations from one image say nearly the same, so how many there are says little about how
well a Gram is known. What does is the error on the batches that were held out: a few rows are
pruned by exact elimination with one damping after the other. Late layers of image networks, and
layers that see a column per sample, want up to a thousand times what their number of columns
suggests, in the choice of their zeros above all. Cheaper ways of choosing those rows' zeros can
mislead: magnitude's want little compensated and so far too much damping, SparseGPT's more than
the method's own, by which its error rose to 1.2 times.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from onnx_lobs.arrays import IntArray
from onnx_lobs.linalg.workers import one_blas_thread
from onnx_lobs.solvers import solve
from onnx_lobs.solvers.layerwise.pose import pose, usual_damp
from onnx_lobs.solvers.layerwise.sums import LayerSums, excess
from onnx_lobs.solvers.layerwise.task import LayerTask

LEAST, MOST = 1e-3, 1e1  # of the mean diagonal; less than the least gained nothing on 21 layers
FACTOR = 10.0  # between the dampings tried; the error is flat within less
PATIENCE = 2  # steps that gain nothing before the search ends: the first may change little
WORTH = 2e-2  # of the error: gains of less moved four runs of a classifier up as often as down
LEAST_HELD = 32  # held-out observations: fewer cannot tell one damping from the next
ROWS, LEAST_ROWS = 32, 4  # that stand for all
WIDE = 3072  # inputs beyond which even those take too long and too much memory: default
FLOPS = 1e10  # of their elimination with one damping, a tenth of a second


def choose_damp(task: LayerTask, fit: LayerSums, mix: float) -> float:
    """Return the damping with the least error on the held-out batches.

    Parameters
    ----------
    task
        The layer. Its own damping, if it has one, stays. Not modified.
    fit
        Its sums over the batches that are not held out. Not modified.
    mix
        Share of the dense target that the refits aim at.

    Returns
    -------
    float
        Fraction of the mean diagonal: what goes with the amount of data where too little is held
        out, the layer has more than WIDE inputs, or its pattern has no exact elimination.

    Notes
    -----
    Steps by FACTOR from the default until PATIENCE of them gain nothing, then the vertex of the
    parabola through the best three, in the logarithm; the default, if that gains less than WORTH.
    Cost: three to five times a Cholesky factor of the Hessian, d³/3 flops, its inverse, and FLOPS
    or the elimination of LEAST_ROWS rows, d³/3 each.
    """
    start = usual_damp(task, fit)
    is_eliminated = task.pattern.tile is not None
    if task.damp is not None or task.weight.shape[2] > WIDE or not is_eliminated:
        return start
    if not 0 < task.n_prune < task.weight.size:
        return start
    held = task.held_sums()
    if held.count < LEAST_HELD or held.energy <= 0:
        return start
    sample = _Sample(task, fit, held, mix, start)
    errors, best = {0: sample.error(start)}, 0
    for way in (1, -1):
        step = way
        while abs(step - best) <= PATIENCE and LEAST <= start * FACTOR**step <= MOST:
            errors[step] = sample.error(start * FACTOR**step)
            best = step if errors[step] < errors[best] else best
            step += way
        if best:
            break  # where more is better, less is not
    if errors[best] > (1 - WORTH) * errors[0]:
        return start
    return float(start * FACTOR ** (best + _vertex(*(errors.get(best + i) for i in (-1, 0, 1)))))


def _vertex(before: float | None, here: float | None, after: float | None) -> float:
    """Return where a parabola through values at -1, 0 and 1 is least; 0 if one is unknown."""
    if before is None or here is None or after is None:
        return 0.0
    bend = before + after - 2 * here
    return 0.0 if bend <= 0 else float(np.clip((before - after) / (2 * bend), -0.5, 0.5))


class _Sample:
    """Some rows of a layer, and their error on the held-out batches once they are pruned."""

    def __init__(
        self, task: LayerTask, fit: LayerSums, held: LayerSums, mix: float, damp: float
    ) -> None:
        groups, rows = _some_rows(task)
        weight = task.weight[np.ix_(groups, rows)]
        share = task.n_prune / task.weight.size
        n_prune = task.pattern.closest(weight.shape, share, task.kernel_size)
        part = dataclasses.replace(task, weight=weight, n_prune=n_prune)
        self.problem = pose(part, fit.part(groups, rows), damp, mix)
        self.held = held.part(groups, rows)

    def error(self, damp: float) -> float:
        """Return sum ||y - V x||² of the rows pruned with this damping."""
        with one_blas_thread():  # several gain half a second, and spin away three beside other work
            return excess(solve(self.problem.variant(damp=damp), "exact-obs").weight, self.held)


def _some_rows(task: LayerTask) -> tuple[IntArray, IntArray]:
    """Return groups, and rows of each, that stand for all: evenly spaced, in whole blocks."""
    groups, rows, columns = task.weight.shape
    most = int(np.clip(FLOPS / (columns**3 / 3), LEAST_ROWS, ROWS))
    height, _ = task.pattern.tile or (1, 1)
    some = _spaced(groups, most)
    blocks = _spaced(max(rows // height, 1), max(most // (some.size * height), 1))
    chosen = (blocks[:, None] * height + np.arange(height)).ravel()
    return some, chosen[chosen < rows]


def _spaced(count: int, most: int) -> IntArray:
    """Return up to `most` of the numbers below `count`, evenly spaced."""
    size = min(count, most)
    return np.asarray(np.arange(size) * count // size, dtype=np.int64)
