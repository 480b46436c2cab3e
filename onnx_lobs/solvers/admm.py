"""Chooses all zeros of a layer jointly: ADMM with a slowly growing penalty.

Greedy methods take zeros one after the other and cannot take one back. ADMM moves two copies of the
weights towards each other: one is free and fits the outputs, the other has the zeros. While the
penalty on their distance is small, zeros change places freely; as it grows, they settle.

Objective: the damped layer error of :mod:`onnx_lobs.solvers.problem` over all weights that the
pattern allows, in scaled columns (:mod:`onnx_lobs.solvers.scaled`: Hessian Ã, target R̃). With B the
free weight, D its projection onto the pattern and U the multiplier, repeat::

    B = (R̃ - U + rho D)(Ã + rho)⁻¹     D = project(B + U/rho)     U += rho (B - D)

Row budgets are free: the projection of an unstructured layer is one top-k over all its weights,
groups included. rho grows every few steps and the iteration ends when the support stands still.
With relaxation a > 1, ``a B + (1 - a) D`` stands for B after its solve, which helps where few
weights are kept.

Paper: Meng, Behdin, Wang, Mazumder, ALPS, NeurIPS 2024 (arXiv 2406.07831); Boyd et al. 2011.
Cost per step: 2 m d² flops in GEMM with the inverse, made anew at each penalty for d³; or 4 m d²
in the basis in which Ã is tridiagonal, made once for 3 d³: whichever is cheaper. Memory: 6 arrays
like W, 2 like H, in float32 where the damping allows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import BoolArray, RealArray
from onnx_lobs.errors import NotPositiveDefiniteError
from onnx_lobs.linalg import lapack
from onnx_lobs.linalg.triangles import mirror_lower
from onnx_lobs.linalg.tridiagonal import tridiagonalise
from onnx_lobs.linalg.workers import SMALL_LAYER, multiply, one_blas_thread
from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.scaled import Scaled
from onnx_lobs.solvers.solution import Selection, Status

TRIDIAGONAL_COST = 8  # time of a tridiagonal form over that of d³ flops in GEMM, measured
INVERSE_COST = 3  # the same for a Cholesky factorisation and inversion


@dataclass(frozen=True)
class Schedule:
    """How the penalty grows: from `start` by `growth` every `period` steps, to `last` steps.

    `still` is the share of the smaller side of the support that may move in a period when the
    iteration ends; `relax` the relaxation, in [1, 2).
    """

    start: float = 0.03
    growth: float = 1.04
    period: int = 3
    relax: float = 1.0
    still: float = 0.0
    last: int = 400


SLOW = Schedule()  # as good as ADMM gets by itself: about 220 steps


@dataclass(frozen=True)
class Iterate:
    """Where ADMM ended: its mask (groups, rows, d), scaled values on it, and figures."""

    mask: BoolArray
    values: RealArray
    steps: int
    moved: int
    penalty: float


def select_admm(problem: Problem, schedule: Schedule = SLOW) -> Selection:
    """Return ADMM's support and its values on it.

    Parameters
    ----------
    problem
        The layer. Not modified.
    schedule
        Growth of the penalty; slower costs steps and finds a better support.
    """
    if problem.n_prune in (0, problem.weight.size):
        return Selection(np.full(problem.shape, problem.n_prune == 0))
    scaled = Scaled(problem)
    with one_blas_thread(problem.shape[2] < SMALL_LAYER):
        end = iterate(problem, scaled, schedule)
    status = Status.SOLVED if end.moved == 0 else Status.STALLED
    weight = end.values.astype(np.float64) / scaled.scale[:, None, :]
    info: dict[str, float | str | int] = {
        "steps": end.steps,
        "penalty": end.penalty,
        "moved": end.moved,
    }
    return Selection(end.mask, weight, status, info)


def iterate(
    problem: Problem, scaled: Scaled, schedule: Schedule, resolvent: Resolvent | None = None
) -> Iterate:
    """Run ADMM from W to the end of the schedule; 0 < n_prune < weights.

    Parameters
    ----------
    problem, scaled
        The layer. Not modified.
    resolvent
        Of :func:`make_resolvent`, if other runs use it too.
    """
    shape = problem.shape
    fixed = scaled.weight.reshape(shape).copy()  # D
    multiplier = np.zeros_like(fixed)  # U
    target = scaled.target.reshape(shape)
    penalty, moved = schedule.start, fixed.size
    resolvent = make_resolvent(scaled, schedule) if resolvent is None else resolvent
    mask = before = np.ones(shape, dtype=np.bool_)
    still = schedule.still * min(problem.n_prune, fixed.size - problem.n_prune)
    step = 0
    for step in range(1, schedule.last + 1):
        # B: the free optimum near D
        right = penalty * fixed
        right -= multiplier
        right += target
        free = resolvent.apply(right, penalty)
        if schedule.relax != 1.0:
            free *= schedule.relax
            free += (1 - schedule.relax) * fixed
        # D: what the pattern lets through
        fixed = multiplier / penalty
        fixed += free
        mask = project(problem, fixed)
        fixed *= mask
        # U: what it holds back
        free -= fixed
        free *= penalty
        multiplier += free
        # the end, once the support stands still; else a larger penalty
        if step % schedule.period == 0:
            moved = int(np.count_nonzero(mask != before)) // 2
            if moved <= still:
                break
            before = mask
            penalty *= schedule.growth
    return Iterate(mask, fixed, step, moved, penalty)


def project(problem: Problem, value: RealArray) -> BoolArray:
    """Return the mask of the largest squares that the pattern allows; dead inputs go first."""
    scores = np.square(value)
    if problem.damped.dead.any():
        scores = problem.protect_live(scores)
    return problem.pattern.select(scores, problem.n_prune, problem.kernel_size)


class InverseResolvent:
    """Applies (Ã + rho)⁻¹, inverted anew for each rho."""

    def __init__(self, scaled: Scaled) -> None:
        self.matrix = scaled.matrix
        self.penalty = -1.0
        self.inverse = np.empty_like(self.matrix)

    def apply(self, right: RealArray, penalty: float) -> RealArray:
        """Return ``right (Ã + rho)⁻¹``."""
        if penalty != self.penalty:
            for one, out in zip(self.matrix, self.inverse, strict=True):
                _invert(one, penalty, out)
            self.penalty = penalty
        return multiply(right, self.inverse)


class TridiagonalResolvent:
    """Applies (Ã + rho)⁻¹ in the basis in which Ã is tridiagonal."""

    def __init__(self, scaled: Scaled) -> None:
        self.form = tridiagonalise(scaled.matrix)
        self.back = self.form.transposed
        self.basis = self.back.swapaxes(1, 2)
        self.penalty = -1.0

    def apply(self, right: RealArray, penalty: float) -> RealArray:
        """Return ``right Q (T + rho)⁻¹ Qᵀ``."""
        if penalty != self.penalty:
            self.shifted = self.form.shifted(penalty)
            self.penalty = penalty
        coordinates = self.shifted.solve(multiply(right, self.basis))
        return multiply(coordinates.astype(self.back.dtype), self.back)


Resolvent = InverseResolvent | TridiagonalResolvent


def make_resolvent(scaled: Scaled, *schedules: Schedule) -> Resolvent:
    """Return what applies (Ã + rho)⁻¹ in the least time over all steps of the schedules."""
    _, rows, d = scaled.problem.shape
    steps = sum(schedule.last for schedule in schedules)
    saved = 2 * rows * d**2 * steps + TRIDIAGONAL_COST * d**3
    spent = INVERSE_COST * d**3 * sum(s.last / s.period for s in schedules)
    if spent < saved and d >= 32:
        return InverseResolvent(scaled)
    return TridiagonalResolvent(scaled)


def _invert(matrix: RealArray, penalty: float, shifted: RealArray) -> None:
    """Write (Ã + rho)⁻¹, symmetric, to `shifted`."""
    np.copyto(shifted, matrix)
    shifted.flat[:: len(matrix) + 1] += penalty
    status = lapack.potrf(shifted) or lapack.potri(shifted)
    if status:
        raise NotPositiveDefiniteError(
            f"the Hessian with penalty {penalty:.3g} has a negative direction at pivot {status}; "
            "raise damp"
        )
    mirror_lower(shifted.T)
