"""Chooses the settings of a layer's last refit by what was held out: damping, share of the target.

Few samples over-fit the dense target, so it is mixed with the layer's own outputs on the pruned
inputs. On a given mask the refit is linear in its target: the best mixture is found at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array, BoolArray
from onnx_lobs.solvers import Problem
from onnx_lobs.solvers.layerwise.sums import LayerSums, excess
from onnx_lobs.solvers.layerwise.task import LayerTask
from onnx_lobs.solvers.memory import least_memory
from onnx_lobs.solvers.refit import refit_nearly
from onnx_lobs.solvers.scaled import Scaled

FIRST_MIX = 0.5
DAMP_FACTORS = (0.1, 10.0)
DAMP_FLOPS = 1e9  # a few tenths of a second
SAME_TARGET = 1e-10  # below this the two targets differ by the rounding of float32 sums only


@dataclass(frozen=True)
class RefitSettings:
    """Settings of the last refit, and the relative held-out error that they were chosen by."""

    damp: float
    mix: float
    held_error: float | None


def choose_settings(
    task: LayerTask, problem: Problem, mask: BoolArray, fit: LayerSums
) -> RefitSettings:
    """Return the damping and the share of the dense target that are best on the held-out part.

    A given damping stays. Otherwise its neighbours on a coarse grid are tried, where the
    refits that this takes are cheap and the held-out part has an observation per input:
    with fewer it cannot tell one damping from the next.
    """
    count = sum(moments.inputs.count for moments in task.calibration.held)
    if count == 0:
        return RefitSettings(problem.damp, FIRST_MIX, None)
    # refit with each damping, towards either target
    damps = [problem.damp]
    enough = count >= task.weight.shape[2]
    if task.damp is None and enough and _refit_flops(mask) <= DAMP_FLOPS:
        damps += [problem.damp * factor for factor in DAMP_FACTORS]
    fitted = [_refit_towards(task, problem, mask, fit, damp) for damp in damps]
    # judge them on what was held out
    problem.forget()
    held = task.held_sums()
    if held.energy <= 0:
        return RefitSettings(problem.damp, FIRST_MIX, None)
    choices = [_judge(damp, *pair, held) for damp, pair in zip(damps, fitted, strict=True)]
    return min(choices, key=lambda choice: choice.held_error or 0.0)


def _refit_flops(mask: BoolArray) -> float:
    """Return the flops of refitting every row on its own: a Cholesky factor each."""
    kept = mask.sum(axis=-1, dtype=np.float64)
    return float((np.minimum(kept, mask.shape[-1] - kept) ** 3).sum()) / 3


def _refit_towards(
    task: LayerTask, problem: Problem, mask: BoolArray, fit: LayerSums, damp: float
) -> tuple[Array, Array | None]:
    """Return the refits V0 towards the layer's own outputs and V1 towards the dense ones.

    Without a dense target there is no V1. On a given mask the refit is linear in its target, so
    that of a mixture is ``(1 - a) V0 + a V1``.
    """
    if not task.has_target:
        return refit_nearly(Scaled(problem.variant(damp=damp)), mask), None
    own = task.weight @ problem.hessian
    both = problem.variant(
        weight=np.concatenate([task.weight, task.weight], axis=1),
        cross=np.concatenate([own, fit.per_sample * fit.cross], axis=1),
        n_prune=2 * problem.n_prune,
        damp=damp,
        memory=_for_both(task),
    )
    double = np.concatenate([mask, mask], axis=1)
    first, last = np.split(refit_nearly(Scaled(both), double), 2, axis=1)
    return first, last


def _judge(damp: float, first: Array, last: Array | None, held: LayerSums) -> RefitSettings:
    """Return the best mixture of two refits, whose held-out error is a parabola, and that error."""
    if last is None:
        return RefitSettings(damp, 0.0, excess(first, held) / held.energy)
    mix = _best_mix(first, last, held)
    return RefitSettings(damp, mix, excess(first + mix * (last - first), held) / held.energy)


def _for_both(task: LayerTask) -> int | None:
    """Return the task's memory, raised to what the refit of twice the rows needs at the least."""
    if task.memory is None:
        return None
    groups, rows, columns = task.weight.shape
    return max(task.memory, least_memory((groups, 2 * rows, columns)))


def _best_mix(first: Array, last: Array, held: LayerSums) -> float:
    step = last - first
    curvature = float(np.vdot(step @ held.scatter, step))
    slope = float(np.vdot(step, held.cross - first @ held.scatter))
    if curvature <= SAME_TARGET * held.energy:
        return 1.0
    return float(np.clip(slope / curvature, 0.0, 1.0))
