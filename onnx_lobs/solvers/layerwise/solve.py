"""Solves one layer from its moments: target, damping, method, refit, bias, errors.

With inputs x of the pruned network and pre-activations y = W x_d of the dense one, a layer is
solved for ``min sum ||y - V x - c||²`` over the sparse V and, where the layer has a bias that
may change, over c too, which centres the moments. Few samples over-fit the dense target, so
it is mixed with the layer's own outputs on the pruned inputs, in a proportion chosen on the
batches that were held out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array, BoolArray
from onnx_lobs.linalg.moments import Moments
from onnx_lobs.patterns import Unstructured
from onnx_lobs.solvers import (
    METHODS,
    Problem,
    Selection,
    Solution,
    Status,
    refit_mask,
    select,
    solve,
)
from onnx_lobs.solvers.curves import error_curve
from onnx_lobs.solvers.layerwise.augmented import solve_with_bias
from onnx_lobs.solvers.layerwise.damping import choose_damp
from onnx_lobs.solvers.layerwise.pose import pose, usual_damp
from onnx_lobs.solvers.layerwise.present import with_present_zeros
from onnx_lobs.solvers.layerwise.prior import drawn_sums
from onnx_lobs.solvers.layerwise.rounded import rounded, rounded_only
from onnx_lobs.solvers.layerwise.task import LayerSums, LayerTask, Outcome, bias_changes, excess
from onnx_lobs.solvers.memory import least_memory
from onnx_lobs.solvers.refit import refit_nearly
from onnx_lobs.solvers.scaled import Scaled

FIRST_MIX = 0.5
DAMP_FACTORS = (0.1, 10.0)
DAMP_FLOPS = 1e9  # a few tenths of a second
SAME_TARGET = 1e-10  # below this the two targets differ by the rounding of float32 sums only


def solve_layer(task: LayerTask) -> Outcome:
    """Prune one layer.

    Returns
    -------
    Outcome
        Weights with exactly ``n_prune`` zeros (methods that prune the bias may place some
        of them there), and the bias change of each use. Rounding to scales, if the task asks for
        it, may make further zeros.

    Raises
    ------
    SolverError
        As :func:`onnx_lobs.solvers.solve`.

    Notes
    -----
    The held-out batches choose the damping, before the zeros are chosen without them, and then,
    with the share of the dense target, once more for the refit. Nothing is fitted to them, so that
    they tell what the network does to samples it has not seen.
    Cost: :func:`onnx_lobs.solvers.layerwise.damping.choose_damp`, the method, one refit, and for
    the choice one by :func:`onnx_lobs.solvers.refit.refit_nearly` (of both targets, if there are
    two), or three where they are cheap and the damping is free.
    """
    outcome = _solved(task)
    return outcome if task.scale_of is None else rounded(task, outcome)


def _solved(task: LayerTask) -> Outcome:
    """Return the pruned layer before its weights are rounded."""
    method = METHODS[task.method]
    if method.prunes_bias:
        return solve_with_bias(task)
    fitted = task.calibration.fit
    fit = drawn_sums(task, fitted)
    refits = method.refits if task.refit is None else task.refit
    damp = choose_damp(task, fit, FIRST_MIX) if refits else usual_damp(task, fit)
    problem = pose(task, fit, damp, FIRST_MIX, _mean(fitted))
    if not refits:
        bare = solve(problem, task.method, refit=task.refit, effort=task.effort)
        unchanged = (None,) * len(task.centred)
        used = damp if method.needs_hessian else None
        return Outcome(bare.weight, unchanged, bare.status, used, None, None, _info(bare))
    solution = select(problem, task.method, task.effort)
    mask = with_present_zeros(task, solution.mask, np.einsum("gii->gi", problem.hessian))
    choice = _choose(task, problem, mask, fit)
    del problem, fit  # its matrices, before those of the exact refit
    return _refitted(task, mask, choice, solution.status, _info(solution))


def round_layer(task: LayerTask) -> Outcome:
    """Round a layer whose zeros stay as they are, its other weights refitted where that helps.

    Parameters
    ----------
    task
        The layer; it says which rows share a scale. Not modified.

    Returns
    -------
    Outcome
        Before it is rounded, the layer is refitted as a pruned one is, and its bias takes up the
        mean error. Unless the method does not refit, nothing was held out, or the refit does no
        better on what was: then values are rounded as they are.

    Notes
    -----
    Cost: one refit, those for the choice, and the rounding, as of :func:`solve_layer`.
    """
    present: BoolArray = task.weight != 0
    refits = METHODS[task.method].refits if task.refit is None else task.refit
    held = task.held_sums() if refits else None
    if held is None or held.energy <= 0:
        return rounded_only(task)
    free = dataclasses.replace(
        task, n_prune=int((~present).sum()), pattern=Unstructured(), kernel_size=1
    )
    fit = drawn_sums(free, free.calibration.fit)
    problem = pose(free, fit, usual_damp(free, fit), FIRST_MIX)
    choice = _choose(free, problem, present, fit)
    before = excess(task.weight, held) / held.energy
    if choice.held_error is None or choice.held_error >= before:
        return rounded_only(task)
    del problem, fit  # its matrices, before those of the exact refit
    return rounded(task, _refitted(free, present, choice, Status.SOLVED, {}))


def _refitted(
    task: LayerTask,
    mask: BoolArray,
    choice: _Choice,
    status: Status,
    info: dict[str, float | str | int],
) -> Outcome:
    """Return a layer with its exact refit on a mask, with the settings that were chosen."""
    fitted = task.calibration.fit
    exact = pose(task, drawn_sums(task, fitted), choice.damp, choice.mix)
    weight = np.where(mask, refit_mask(exact, mask), 0.0)
    return Outcome(
        weight,
        bias_changes(task, fitted, weight),
        status,
        choice.damp,
        choice.mix if task.has_target else None,
        choice.held_error,
        info,
    )


def solve_again(task: LayerTask, damp: float, mix: float) -> Outcome:
    """Prune one layer on other batches, with settings that are known already.

    Parameters
    ----------
    task
        The layer, with other batches held out. Not modified.
    damp, mix
        As :func:`solve_layer` chose them: fraction of the mean diagonal, share of the dense target.

    Returns
    -------
    Outcome
        Zeros and weights that ``task.calibration.fit`` alone decides.

    Notes
    -----
    Cost: the method, and one refit, in float32 where that does.
    """
    fitted = task.calibration.fit
    problem = pose(task, drawn_sums(task, fitted), damp, mix, _mean(fitted))
    solution = select(problem, task.method, task.effort)
    mask = with_present_zeros(task, solution.mask, np.einsum("gii->gi", problem.hessian))
    problem.forget()
    weight = refit_nearly(Scaled(problem), mask)
    changes = bias_changes(task, fitted, weight)
    return Outcome(weight, changes, solution.status, damp, mix, None, _info(solution))


def _info(found: Selection | Solution) -> dict[str, float | str | int]:
    """Return the figures of the method, without the damping, of which a layer has another."""
    return {name: value for name, value in found.info.items() if name != "damp"}


def solve_quickly(task: LayerTask, *, refit: bool = False) -> Outcome:
    """Prune one layer as fast as can be without losing what distinguishes layers: for trials.

    SparseGPT, or gradient steps for patterns it cannot do, aiming half-way at the dense target,
    with the bias change that goes with the result. Raises as :func:`solve_layer`.

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


def _mean(moments: Sequence[Moments]) -> Array:
    """Return the mean input (groups, columns) over all uses."""
    total = sum(use.inputs.total for use in moments)
    return np.asarray(total / max(sum(use.inputs.count for use in moments), 1))


@dataclass(frozen=True)
class _Choice:
    """Settings of the last refit, and the relative held-out error that they were chosen by."""

    damp: float
    mix: float
    held_error: float | None


def _choose(task: LayerTask, problem: Problem, mask: BoolArray, fit: LayerSums) -> _Choice:
    """Return the damping and the share of the dense target that are best on the held-out part.

    A given damping stays. Otherwise its neighbours on a coarse grid are tried, where the
    refits that this takes are cheap and the held-out part has a observation per input:
    with fewer it cannot tell one damping from the next.
    """
    count = sum(moments.inputs.count for moments in task.calibration.held)
    if count == 0:
        return _Choice(problem.damp, FIRST_MIX, None)
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
        return _Choice(problem.damp, FIRST_MIX, None)
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


def _judge(damp: float, first: Array, last: Array | None, held: LayerSums) -> _Choice:
    """Return the best mixture of two refits, whose held-out error is a parabola, and that error."""
    if last is None:
        return _Choice(damp, 0.0, excess(first, held) / held.energy)
    mix = _best_mix(first, last, held)
    return _Choice(damp, mix, excess(first + mix * (last - first), held) / held.energy)


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
