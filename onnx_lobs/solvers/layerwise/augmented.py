"""Runs methods that treat the bias as one more weight, whose input is always 1."""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.linalg.moments import Moments
from onnx_lobs.solvers import Problem, solve
from onnx_lobs.solvers.layerwise.sums import LayerSums, add_up
from onnx_lobs.solvers.layerwise.task import LayerTask, Outcome


def solve_with_bias(task: LayerTask) -> Outcome:
    """Run a method that treats the bias as one more weight whose input is always 1."""
    total = task.calibration.fit  # what was held out tells the output error
    plain = add_up(total, [False] * len(total), task.weight)
    joined = task.bias is not None and len(total) == 1
    weight, scatter, cross = task.weight, plain.scatter, plain.cross
    if joined and task.bias is not None:
        moments = total[0]
        weight = np.concatenate([weight, task.bias[:, :, None]], axis=2)
        scatter = _bordered(scatter, moments.inputs.total, plain.count)
        mean = None if moments.targets is None else moments.targets.total
        cross = _bordered_cross(task, plain, moments, mean)
    scale = plain.per_sample
    has_target = task.has_target
    damp = 1e-3 if task.damp is None else task.damp
    problem = Problem(
        weight=weight,
        hessian=scale * scatter,
        n_prune=task.n_prune,
        cross=scale * cross if has_target else None,
        pattern=task.pattern,
        damp=damp,
        seed=task.seed,
        memory=task.memory,
    )
    solution = solve(problem, task.method, task.refit, task.effort)
    columns = task.weight.shape[2]
    change: tuple[Array | None, ...] = (None,) * len(total)
    if joined and task.bias is not None:
        change = (solution.weight[:, :, columns] - task.bias,)
    return Outcome(
        solution.weight[:, :, :columns], change, solution.status, damp, None, None,
        dict(solution.info),
    )  # fmt: skip


def _bordered(scatter: Array, total: Array, count: int) -> Array:
    """Return the scatter of [x, 1]."""
    groups, d, _ = scatter.shape
    wide = np.empty((groups, d + 1, d + 1))
    wide[:, :d, :d] = scatter
    wide[:, :d, d] = wide[:, d, :d] = total
    wide[:, d, d] = count
    return wide


def _bordered_cross(
    task: LayerTask, sums: LayerSums, moments: Moments, total: Array | None
) -> Array:
    """Return sum (y + b) [x, 1]^T."""
    assert task.bias is not None
    count = moments.inputs.count
    if total is None:
        total = np.einsum("grd,gd->gr", task.weight, moments.inputs.total)
    shifted = sums.cross + task.bias[:, :, None] * moments.inputs.total[:, None, :]
    return np.concatenate([shifted, (total + count * task.bias)[:, :, None]], axis=2)
