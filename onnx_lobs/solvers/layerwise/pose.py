"""Poses the solver's problem of a layer, from its task and its sums."""

from __future__ import annotations

from onnx_lobs.arrays import Array
from onnx_lobs.solvers import Problem
from onnx_lobs.solvers.layerwise.sums import LayerSums
from onnx_lobs.solvers.layerwise.task import LayerTask


def usual_damp(task: LayerTask, sums: LayerSums) -> float:
    """Return the task's own damping, or the one that goes with the amount of data."""
    return default_damp(sums.count, task.weight.shape[2]) if task.damp is None else task.damp


def default_damp(count: int, columns: int) -> float:
    """Return the damping for `count` observations on `columns` inputs.

    1e-3 of the mean diagonal is right from about 8 independent observations per input on; with
    fewer, the smallest eigenvalues are noise and need more.
    """
    ratio = count / columns
    return 1e-3 if ratio >= 8 else 1e-2 if ratio >= 2 else 1e-1


def pose(
    task: LayerTask, sums: LayerSums, damp: float, mix: float, mean: Array | None = None
) -> Problem:
    """Return the solver's problem, aiming `mix` of the way at the dense target if there is one.

    Parameters
    ----------
    task
        The layer. Not modified.
    sums
        What it is fitted to. Their scatter is taken, and becomes the problem's Hessian.
    damp
        Fraction of the mean diagonal.
    mix
        In [0, 1]; 0 is the layer's own outputs.
    mean
        E[x] (groups, d), for methods that ask for it.
    """
    scale = sums.per_sample
    cross = None
    if task.has_target:
        own = task.weight @ sums.scatter
        cross = scale * (own + mix * (sums.cross - own))
    return Problem(
        weight=task.weight,
        hessian=sums.take_hessian(),
        n_prune=task.n_prune,
        cross=cross,
        pattern=task.pattern,
        kernel_size=task.kernel_size,
        damp=damp,
        target_energy=0.5 * scale * sums.energy if task.has_target else None,
        mean=mean,
        seed=task.seed,
        memory=task.memory,
    )
