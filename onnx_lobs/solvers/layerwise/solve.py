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

import numpy as np

from onnx_lobs.arrays import Array, BoolArray
from onnx_lobs.linalg.moments import Moments
from onnx_lobs.patterns import Unstructured
from onnx_lobs.solvers import METHODS, Selection, Solution, Status, refit_mask, select, solve
from onnx_lobs.solvers.layerwise.augmented import solve_with_bias
from onnx_lobs.solvers.layerwise.damping import choose_damp
from onnx_lobs.solvers.layerwise.pose import pose, usual_damp
from onnx_lobs.solvers.layerwise.present import with_present_zeros
from onnx_lobs.solvers.layerwise.prior import drawn_sums
from onnx_lobs.solvers.layerwise.refit_settings import FIRST_MIX, RefitSettings, choose_settings
from onnx_lobs.solvers.layerwise.rounded import rounded, rounded_only
from onnx_lobs.solvers.layerwise.sums import excess
from onnx_lobs.solvers.layerwise.task import LayerTask, Outcome, bias_changes
from onnx_lobs.solvers.refit import refit_nearly
from onnx_lobs.solvers.scaled import Scaled


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
    refits = method.is_refitted(task.refit)
    damp = choose_damp(task, fit, FIRST_MIX) if refits else usual_damp(task, fit)
    problem = pose(task, fit, damp, FIRST_MIX, _mean(fitted))
    if not refits:
        bare = solve(problem, task.method, refit=task.refit, effort=task.effort)
        unchanged = (None,) * len(task.centred)
        used = damp if method.needs_hessian else None
        return Outcome(bare.weight, unchanged, bare.status, used, None, None, _info(bare))
    solution = select(problem, task.method, task.effort)
    mask = with_present_zeros(task, solution.mask, np.einsum("gii->gi", problem.hessian))
    choice = choose_settings(task, problem, mask, fit)
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
    held = task.held_sums() if METHODS[task.method].is_refitted(task.refit) else None
    if held is None or held.energy <= 0:
        return rounded_only(task)
    free = dataclasses.replace(
        task, n_prune=int((~present).sum()), pattern=Unstructured(), kernel_size=1
    )
    fit = drawn_sums(free, free.calibration.fit)
    problem = pose(free, fit, usual_damp(free, fit), FIRST_MIX)
    choice = choose_settings(free, problem, present, fit)
    before = excess(task.weight, held) / held.energy
    if choice.held_error is None or choice.held_error >= before:
        return rounded_only(task)
    del problem, fit  # its matrices, before those of the exact refit
    return rounded(task, _refitted(free, present, choice, Status.SOLVED, {}))


def _refitted(
    task: LayerTask,
    mask: BoolArray,
    choice: RefitSettings,
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


def _mean(moments: Sequence[Moments]) -> Array:
    """Return the mean input (groups, columns) over all uses."""
    total = sum(use.inputs.total for use in moments)
    return np.asarray(total / max(sum(use.inputs.count for use in moments), 1))
