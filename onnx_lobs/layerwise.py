"""One layer from its moments to its new weights: target, damping, method, refit, bias, errors.

With inputs x of the pruned network and pre-activations y = W x_d of the dense one, a layer is
solved for ``min sum ||y - V x - c||²`` over the sparse V and, where the layer has a bias that
may change, over c too, which centres the moments. Few samples over-fit the dense target, so
it is mixed with the layer's own outputs on the pruned inputs, in a proportion chosen on the
batches that were held out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from onnx_lobs.linalg.gram import Calibration, Moments
from onnx_lobs.pattern import Pattern, Unstructured
from onnx_lobs.solvers import METHODS, Problem, Status, refit_mask, solve

Array = NDArray[np.float64]
FIRST_MIX = 0.5
SAME_TARGET = 1e-10  # below this the two targets differ by the rounding of float32 sums only


@dataclass(frozen=True)
class LayerTask:
    """What is asked of one layer.

    Parameters
    ----------
    weight
        W (groups, rows, columns), float64.
    calibration
        Moments per use, with targets of this layer's rows only.
    centred
        Per use: whether its bias may change, which absorbs the mean error.
    bias
        Present bias (groups, rows) for methods that prune it too, or None.
    n_prune, pattern, taps
        As in :class:`onnx_lobs.solvers.Problem`.
    method, refit
        Name in METHODS; whether the exact refit ends it (None: as the method was made).
    damp
        Fraction of the mean diagonal, or None to choose it from the amount of data.
    """

    weight: Array
    calibration: Calibration
    centred: tuple[bool, ...]
    n_prune: int
    bias: Array | None = None
    pattern: Pattern = field(default_factory=Unstructured)
    taps: int = 1
    method: str = "joint"
    refit: bool | None = None
    damp: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """A solved layer: weights before rounding, and how they came about.

    ``held_error`` is the relative error on the held-out batches of the weights fitted
    without them; None when nothing was held out or the method does not refit.
    """

    weight: Array
    bias_change: tuple[Array | None, ...]
    status: Status
    damp: float
    target: float | None
    held_error: float | None
    info: dict[str, float | str | int]


@dataclass(frozen=True)
class Sums:
    """Moments of all uses of a layer, added up.

    ``scatter`` (groups, d, d) is sum x x^T, ``cross`` (groups, rows, d) sum y x^T, `energy`
    sum y², about the means for the uses that are centred; `count` the columns of data.
    """

    scatter: Array
    cross: Array
    energy: float
    count: int


def add_up(moments: Sequence[Moments], centred: Sequence[bool], weight: Array) -> Sums:
    """Return the sums over all uses; without targets, y = W x."""
    groups, rows, columns = weight.shape
    scatter = np.zeros((groups, columns, columns))
    cross = np.zeros((groups, rows, columns))
    energy, count = 0.0, 0
    for use, centre in zip(moments, centred, strict=True):
        n = use.inputs.count
        if n == 0:
            continue
        own = use.inputs.scatter(centre)
        if use.targets is None:
            towards = weight @ own
            energy += float(np.vdot(towards, weight))
        else:
            mean = use.targets.total / n
            shift = n * mean[:, :, None] * use.inputs.mean[:, None, :] if centre else 0.0
            towards = use.targets.cross - shift
            energy += float(use.targets.energy.sum() - (n * (mean**2).sum() if centre else 0.0))
        scatter += own
        cross += towards
        count += n
    return Sums(scatter, cross, energy, count)


def default_damp(count: int, columns: int) -> float:
    """Return the damping for `count` columns of data on `columns` inputs.

    1e-3 of the mean diagonal is right from about 8 columns of data per input on; with fewer,
    the smallest eigenvalues are noise and need more.
    """
    ratio = count / columns
    return 1e-3 if ratio >= 8 else 1e-2 if ratio >= 2 else 1e-1


def solve_layer(task: LayerTask) -> Outcome:
    """Prune one layer.

    Returns
    -------
    Outcome
        Weights with exactly ``n_prune`` zeros (methods that prune the bias may place some
        of them there), and the bias change of each use.

    Raises
    ------
    SolverError
        As :func:`onnx_lobs.solvers.solve`.

    Notes
    -----
    The zeros, and the proportion of the dense target, are chosen without the held-out
    batches; the last refit uses all of them. Cost: the method, and three refits.
    """
    method = METHODS[task.method]
    if method.prunes_bias:
        return _solve_with_bias(task)
    fit = add_up(task.calibration.fit, task.centred, task.weight)
    damp = task.damp if task.damp is not None else default_damp(fit.count, task.weight.shape[2])
    has_target = task.calibration.fit[0].targets is not None
    problem = _problem(task, fit, damp, FIRST_MIX if has_target else 0.0)
    refits = method.refits if task.refit is None else task.refit
    solution = solve(problem, task.method, refit=refits and not has_target)
    info = {k: v for k, v in solution.info.items() if k != "damp"}
    if not refits:
        changes = _bias_changes(task, solution.weight, allowed=False)
        return Outcome(solution.weight, changes, solution.status, damp, None, None, info)
    mix, held_error = _choose_mix(task, problem, solution.mask, solution.weight, fit, has_target)
    total = [task.calibration.total(i) for i in range(len(task.centred))]
    whole = _problem(task, add_up(total, task.centred, task.weight), damp, mix)
    weight = np.where(solution.mask, refit_mask(whole, solution.mask), 0.0)
    return Outcome(
        weight,
        _bias_changes(task, weight),
        solution.status,
        damp,
        mix if has_target else None,
        held_error,
        info,
    )


def _problem(task: LayerTask, sums: Sums, damp: float, mix: float) -> Problem:
    """Return the solver's problem, aiming `mix` of the way at the dense target."""
    scale = 2 / max(sums.count, 1)
    own = task.weight @ sums.scatter
    has_target = task.calibration.fit[0].targets is not None
    return Problem(
        weight=task.weight,
        hessian=scale * sums.scatter,
        n_prune=task.n_prune,
        cross=scale * (own + mix * (sums.cross - own)) if has_target else None,
        pattern=task.pattern,
        taps=task.taps,
        damp=damp,
        target_energy=0.5 * scale * sums.energy if has_target else None,
        seed=task.seed,
    )


def _choose_mix(
    task: LayerTask,
    problem: Problem,
    mask: NDArray[np.bool_],
    weight: Array,
    fit: Sums,
    has_target: bool,
) -> tuple[float, float | None]:
    """Return the share of the dense target that is best on the held-out batches.

    On a given mask the refit is linear in its target, so V(a) = (1 - a) V0 + a V1 and the
    held-out error is a parabola in a. Also returns the relative held-out error there.
    """
    held = add_up(task.calibration.held, task.centred, task.weight)
    mix = FIRST_MIX
    if has_target:
        scale = 2 / max(fit.count, 1)
        own = scale * (task.weight @ fit.scatter)
        both = dataclasses.replace(
            problem,
            weight=np.concatenate([task.weight, task.weight], axis=1),
            cross=np.concatenate([own, scale * fit.cross], axis=1),
            n_prune=2 * problem.n_prune,
        )
        double = np.concatenate([mask, mask], axis=1)
        first, last = np.split(np.where(double, refit_mask(both, double), 0.0), 2, axis=1)
        if held.count:
            mix = _best_mix(first, last, held)
        weight = first + mix * (last - first)
    if held.count == 0 or held.energy <= 0:
        return mix, None
    return mix, _excess(weight, held) / held.energy


def _best_mix(first: Array, last: Array, held: Sums) -> float:
    step = last - first
    curvature = float(np.vdot(step @ held.scatter, step))
    slope = float(np.vdot(step, held.cross - first @ held.scatter))
    if curvature <= SAME_TARGET * held.energy:
        return 1.0
    return float(np.clip(slope / curvature, 0.0, 1.0))


def _excess(weight: Array, sums: Sums) -> float:
    """Return sum ||y - V x||² about the means of the centred uses; rounding may make it < 0."""
    gradient = weight @ sums.scatter - 2 * sums.cross
    return max(float(np.vdot(gradient, weight)) + sums.energy, 0.0)


def _bias_changes(task: LayerTask, weight: Array, allowed: bool = True) -> tuple[Array | None, ...]:
    """Return, per use, the mean of y - V x, which its bias takes up; None if it may not."""
    changes: list[Array | None] = []
    for use, centre in enumerate(task.centred):
        moments = task.calibration.total(use)
        possible = allowed and centre and moments.inputs.count > 0
        changes.append(_mean_change(moments, task.weight, weight) if possible else None)
    return tuple(changes)


def _mean_change(moments: Moments, dense: Array, weight: Array) -> Array:
    mean = moments.inputs.mean
    if moments.targets is None:
        return np.asarray(np.einsum("grd,gd->gr", dense - weight, mean))
    target = moments.targets.total / moments.inputs.count
    return np.asarray(target - np.einsum("grd,gd->gr", weight, mean))


def relative_error(task: LayerTask, weight: Array, bias_change: Sequence[Array | None]) -> float:
    """Return the mean squared change of the pre-activations over the dense ones' energy.

    Parameters
    ----------
    task
        Its moments over all batches are used. Not modified.
    weight
        V (groups, rows, columns), the values as stored.
    bias_change
        Per use: what was added to its bias, or None.

    Returns
    -------
    float
        sum ||y - V x - c||² / sum ||y||², the latter about the mean of y where the bias of
        the use may change. 0.0 when there is no energy and no error, else infinity.
    """
    total = [task.calibration.total(i) for i in range(len(task.centred))]
    sums = add_up(total, task.centred, task.weight)
    excess = _excess(weight, sums)
    for moments, centre, change in zip(total, task.centred, bias_change, strict=True):
        if centre and moments.inputs.count:
            left = _mean_change(moments, task.weight, weight)
            left = left if change is None else left - change
            excess += moments.inputs.count * float((left**2).sum())
    if sums.energy <= 0:
        return 0.0 if excess <= 0 else float("inf")
    return excess / sums.energy


def magnitude_weight(task: LayerTask) -> Array:
    """Return W with its smallest weights zeroed and nothing else changed."""
    mask = task.pattern.select(np.abs(task.weight), task.n_prune, task.taps)
    return np.where(mask, task.weight, 0.0)


def _solve_with_bias(task: LayerTask) -> Outcome:
    """Run a method that treats the bias as one more weight whose input is always 1."""
    total = [task.calibration.total(i) for i in range(len(task.centred))]
    plain = add_up(total, [False] * len(total), task.weight)
    joined = task.bias is not None and len(total) == 1
    weight, scatter, cross = task.weight, plain.scatter, plain.cross
    if joined and task.bias is not None:
        moments = total[0]
        weight = np.concatenate([weight, task.bias[:, :, None]], axis=2)
        scatter = _bordered(scatter, moments.inputs.total, plain.count)
        mean = None if moments.targets is None else moments.targets.total
        cross = _bordered_cross(task, plain, moments, mean)
    scale = 2 / max(plain.count, 1)
    has_target = total[0].targets is not None
    damp = 1e-3 if task.damp is None else task.damp
    problem = Problem(
        weight=weight,
        hessian=scale * scatter,
        n_prune=task.n_prune,
        cross=scale * cross if has_target else None,
        pattern=task.pattern,
        damp=damp,
        seed=task.seed,
    )
    solution = solve(problem, task.method, task.refit)
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


def _bordered_cross(task: LayerTask, sums: Sums, moments: Moments, total: Array | None) -> Array:
    """Return sum (y + b) [x, 1]^T."""
    assert task.bias is not None
    count = moments.inputs.count
    if total is None:
        total = np.einsum("grd,gd->gr", task.weight, moments.inputs.total)
    shifted = sums.cross + task.bias[:, :, None] * moments.inputs.total[:, None, :]
    return np.concatenate([shifted, (total + count * task.bias)[:, :, None]], axis=2)
