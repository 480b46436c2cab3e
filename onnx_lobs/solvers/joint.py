"""The default: all zeros of a layer chosen jointly by ADMM with a slowly growing penalty.

Objective: the damped layer error of :mod:`onnx_lobs.solvers.problem` over all weights that the
pattern allows. Columns are scaled by s = sqrt(diag A), so that Ã = A/(s sᵀ) has a unit diagonal
and a scaled weight's square is what its removal alone costs; R̃ = R/s. Eigenbasis Ã = QΛQᵀ once;
then with B the free weight, D its projection onto the pattern and U the multiplier::

    B = (R̃ - U + rho D) Q (Λ + rho)⁻¹ Qᵀ       D = project(B + U/rho)       U += rho (B - D)

Row budgets are free: the projection of an unstructured layer is one top-k over all its weights,
groups included. rho grows every third step, the faster the more of the support still changes,
and the iteration ends when it stands still. The exact refit on the final support follows.

Paper: Meng, Behdin, Wang, Mazumder, ALPS, NeurIPS 2024 (arXiv 2406.07831); Boyd et al. 2011.
Cost: 9 d³ per group once, then 4 m d² flops a step in float32 GEMM, 150 to 300 steps.
Memory: 6 float32 arrays like W, 2 like H.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_lobs.linalg.factor import eigenbasis
from onnx_lobs.pattern import BoolArray, FloatArray
from onnx_lobs.solvers.problem import Problem, Selection, Status

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class Schedule:
    """How the penalty grows: factor every `period` steps by the share of zeros that moved."""

    start: float = 0.03
    period: int = 3
    fast: float = 1.05
    slow: float = 1.03
    much: float = 0.005  # share of the smaller side of the support moved in a period
    last: int = 400

    def factor(self, moved: float) -> float:
        """Return the growth factor for the share of the support that moved."""
        return self.fast if moved > self.much else self.slow


SLOW = Schedule()


@dataclass(frozen=True)
class _Scaled:
    """The problem in scaled columns: R̃, W s, Q as float32; Λ (groups, d)."""

    target: Float32Array
    weight: Float32Array
    basis: Float32Array
    values: Float32Array
    scale: FloatArray


def select_joint(problem: Problem, schedule: Schedule = SLOW) -> Selection:
    """Return ADMM's support and its values on it.

    Parameters
    ----------
    problem
        The layer. Not modified.
    schedule
        Growth of the penalty; slower costs steps and finds a better support.
    """
    if problem.n_prune in (0, problem.weight.size) or problem.weight.size == 0:
        scores = np.square(problem.weight)
        return Selection(problem.pattern.select(scores, problem.n_prune, problem.taps))
    scaled = _scale(problem)
    free, mask, steps, moved, penalty = _iterate(problem, scaled, schedule)
    status = Status.SOLVED if moved == 0 else Status.STALLED
    info: dict[str, float | str | int] = {"steps": steps, "penalty": penalty, "moved": moved}
    return Selection(mask, free / scaled.scale[:, None, :], status, info)


def _scale(problem: Problem) -> _Scaled:
    damped = problem.damped
    scale = np.sqrt(np.diagonal(damped.matrix, axis1=1, axis2=2))
    values, vectors = eigenbasis(damped.matrix / (scale[:, :, None] * scale[:, None, :]))
    return _Scaled(
        (problem.target / scale[:, None, :]).astype(np.float32),
        (problem.weight * scale[:, None, :]).astype(np.float32),
        vectors.astype(np.float32),
        values.astype(np.float32),
        scale,
    )


def _iterate(
    problem: Problem, scaled: _Scaled, schedule: Schedule
) -> tuple[Float32Array, BoolArray, int, int, float]:
    """Return the last D, its mask, the steps done, the zeros moved last and the last penalty."""
    penalty = schedule.start
    fixed = scaled.weight.copy()  # D
    multiplier = np.zeros_like(fixed)  # U
    before = np.ones(fixed.shape, dtype=np.bool_)
    mask, moved = before, fixed.size
    smaller = min(problem.n_prune, fixed.size - problem.n_prune)
    backward = np.ascontiguousarray(scaled.basis.swapaxes(1, 2))
    for step in range(1, schedule.last + 1):
        right = penalty * fixed
        right -= multiplier
        right += scaled.target
        coordinates = right @ scaled.basis
        coordinates /= (scaled.values + np.float32(penalty))[:, None, :]
        free = coordinates @ backward
        fixed = multiplier / penalty
        fixed += free
        mask = _project(problem, fixed)
        fixed *= mask
        free -= fixed
        free *= penalty
        multiplier += free
        if step % schedule.period == 0:
            moved = int(np.count_nonzero(mask != before)) // 2
            if moved == 0:
                return fixed, mask, step, moved, penalty
            before = mask
            penalty *= schedule.factor(moved / smaller)
    return fixed, mask, schedule.last, moved, penalty


def _project(problem: Problem, value: NDArray[Any]) -> BoolArray:
    scores = problem.protect_live(np.square(value))
    return problem.pattern.select(scores, problem.n_prune, problem.taps)
