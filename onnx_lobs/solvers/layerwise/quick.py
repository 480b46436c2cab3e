"""Judges one layer quickly, for trials: a pruning that is good enough, and a curve of losses."""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.solvers import METHODS, solve
from onnx_lobs.solvers.curves import error_curve
from onnx_lobs.solvers.layerwise.pose import pose, usual_damp
from onnx_lobs.solvers.layerwise.prior import drawn_sums
from onnx_lobs.solvers.layerwise.refit_settings import FIRST_MIX
from onnx_lobs.solvers.layerwise.task import LayerTask, Outcome, bias_changes


def solve_quickly(task: LayerTask, *, refit: bool = False) -> Outcome:
    """Prune one layer as fast as can be without losing what distinguishes layers: for trials.

    SparseGPT, or gradient steps for patterns it cannot do, aiming half-way at the dense target,
    with the bias change that goes with the result. Raises as
    :func:`~onnx_lobs.solvers.layerwise.solve.solve_layer`.

    Notes
    -----
    Cost: d³ for the factor, and 2 m d² flops; with the refit k³/3 more for every row that keeps
    or loses k weights, whichever are fewer.
    """
    total = task.total_moments()
    sums = drawn_sums(task, total)
    damp = usual_damp(task, sums)
    problem = pose(task, sums, damp, FIRST_MIX)
    able = METHODS["sparsegpt"].takes(task.pattern)
    solution = solve(problem, "sparsegpt" if able else "iht", refit=refit)
    changes = bias_changes(task, total, solution.weight)
    return Outcome(solution.weight, changes, solution.status, damp, None, None, {})


def loss_curve(task: LayerTask, shares: Array, most_rows: int) -> Array:
    """Return the relative error of exact elimination at fractions of zeros.

    Parameters
    ----------
    task
        The layer; its pattern must have counts to choose from. Not modified.
    shares
        (points,) in [0, 1], ascending.
    most_rows
        Rows that stand for all.

    Returns
    -------
    (points,), 0 at no zeros and not descending: error over the energy of the dense outputs.
    """
    sums = drawn_sums(task, task.total_moments())
    problem = pose(task, sums, usual_damp(task, sums), 0.0)
    curve = error_curve(problem, shares=shares, most_rows=most_rows)
    return np.asarray(curve.error / max(problem.energy, np.finfo(np.float64).tiny))
