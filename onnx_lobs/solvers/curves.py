"""Computes error curves: what every number of zeros costs a layer, from one greedy elimination.

Exact OBS eliminates each row to the end, so its merged costs, added up, are the error at every
count: ``E(k) = E(0) + sum of the k lowest``. ``joint`` ends below that curve, by a share that
changes slowly along it, so the curve serves to divide a budget of zeros among layers.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import FloatArray, IntArray
from onnx_lobs.errors import ConfigError
from onnx_lobs.solvers.exact_obs import elimination_costs, trace_rows
from onnx_lobs.solvers.problem import Problem, error
from onnx_lobs.solvers.scaled import Scaled


@dataclass(frozen=True)
class ErrorCurve:
    """Error against zeros: `n_zero` (points,) ascending, `error` (points,) not descending.

    The unit is that of :attr:`onnx_lobs.solvers.Solution.error`, output² per sample, with damping.
    """

    n_zero: IntArray
    error: FloatArray


def error_curve(
    problem: Problem,
    points: int = 101,
    most_rows: int | None = None,
    shares: FloatArray | None = None,
) -> ErrorCurve:
    """Return E(k) of exact elimination at evenly spaced k from none to all zeros.

    Parameters
    ----------
    problem
        The layer; its ``n_prune`` is not looked at. Not modified.
    points
        Number of points, >= 2.
    most_rows
        Take this many evenly spaced rows of each group and scale their curve up, for layers on
        which the whole elimination is too long; None: all rows.
    shares
        Fractions of zeros in [0, 1], ascending, in place of evenly spaced ones.

    Raises
    ------
    ConfigError
        For N:M, which has one count of zeros only, for a pattern whose zeros go together in no
        tiles, so that nothing is eliminated exactly, or fewer than two points.

    Notes
    -----
    One run of ``exact-obs``, and a sort of all costs. In a block a removal that is cheaper than an
    earlier one of its row counts as much as that, which raises the curve by a few per cent.
    """
    if problem.pattern.own_sparsity is not None:
        raise ConfigError(f"pattern {problem.pattern} has one count of zeros and so no curve")
    if problem.pattern.tile is None:
        raise ConfigError(
            f"pattern {problem.pattern} has no exact elimination and so no curve; share zeros by a "
            "rule (uniform, erk)"
        )
    if points < 2:
        raise ConfigError(f"a curve of {points} points is none; ask for 2 or more")
    # eliminate the rows that stand for all
    part = problem if most_rows is None else _some_rows(problem, most_rows)
    part, factor = part.normalised()
    scaled = Scaled(part)
    costs = _merged_costs(part, scaled)
    # the error before anything goes, and after each removal
    free = part.weight if part.cross is None else part.target @ part.inverse
    total = np.append(0.0, np.cumsum(costs)) + max(error(part, free), 0.0)
    # at the shares asked for, scaled to the whole layer
    share = np.linspace(0, 1, points) if shares is None else np.asarray(shares, dtype=np.float64)
    back = problem.weight.size / max(part.weight.size, 1) / factor**2
    values = back * np.interp(share * costs.size, np.arange(costs.size + 1), total)
    return ErrorCurve(np.rint(share * problem.weight.size).astype(np.int64), values)


def _merged_costs(problem: Problem, scaled: Scaled) -> FloatArray:
    """Return what each removal costs, in the order of the merged choice."""
    if not problem.pattern.is_free:
        return np.sort(elimination_costs(problem, scaled), axis=None)
    cost = trace_rows(scaled, problem.shape[2]).cost.astype(np.float64)
    order = np.argsort(np.maximum.accumulate(cost, axis=1), axis=None, kind="stable")
    return np.asarray(cost.ravel()[order])


def _some_rows(problem: Problem, most_rows: int) -> Problem:
    """Return the problem of at most `most_rows` rows of each group."""
    rows = problem.shape[1]
    if rows <= most_rows:
        return problem
    chosen = np.linspace(0, rows - 1, most_rows).round().astype(np.int64)
    return dataclasses.replace(
        problem,
        weight=problem.weight[:, chosen],
        cross=None if problem.cross is None else problem.cross[:, chosen],
        n_prune=0,
        target_energy=None,
    )
