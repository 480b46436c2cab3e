"""Scales the columns of the damped layer problem to a unit diagonal, for the fast solvers.

With s = sqrt(diag A) the scaled Hessian Ã = A/(s sᵀ) has a unit diagonal, a scaled weight's square
is twice what its removal alone costs, and float32 loses the least. Rows of all groups are
numbered through.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from onnx_lobs.arrays import FloatArray, IntArray, RealArray
from onnx_lobs.linalg.triangles import bands
from onnx_lobs.solvers.problem import Problem

# from here on float32 keeps the order of removal costs, and no penalty's matrix has a negative
# direction: of the mean diagonal, and of every column's own, which may be far above the mean
SINGLE_DAMP, SINGLE_OWN = 1e-4, 3e-6


class Scaled:
    """A problem in scaled columns, in float32 where its damping makes that harmless.

    Errors are the same numbers as in the unscaled problem: ``½ x Ã xᵀ = ½ (x/s) A (x/s)ᵀ``. Every
    array is computed when it is first asked for.

    Parameters
    ----------
    problem
        Not modified, but for what it has computed: see :meth:`Problem.forget`.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._inverse: RealArray | None = None
        self._free: RealArray | None = None

    @cached_property
    def dtype(self) -> type[np.floating[Any]]:
        """float32, or float64 where the damping is too small for it."""
        damped = self.problem.damped
        if self.problem.damp < SINGLE_DAMP or damped.raised > 0:
            return np.float64
        own = damped.strength >= SINGLE_OWN * np.square(self.scale)
        return np.float32 if own.all() else np.float64

    @cached_property
    def scale(self) -> FloatArray:
        """s (groups, d)."""
        return np.sqrt(np.diagonal(self.problem.damped.matrix, axis1=1, axis2=2))

    @cached_property
    def matrix(self) -> RealArray:
        """Ã (groups, d, d)."""
        return self._over(self.problem.damped.matrix, 1 / self.scale)

    @property
    def inverse(self) -> RealArray:
        """G̃ = Ã⁻¹ (groups, d, d)."""
        return self.make_inverse()

    def make_inverse(self) -> RealArray:
        """Make :attr:`inverse`, unless it is there, and return it; before threads share it."""
        if self._inverse is None:
            if self.problem.is_tight:
                self.make_free()  # of A⁻¹ too, which is held no longer than it is read
            self._inverse = self._over(self._take_inverse(), self.scale)
        return self._inverse

    @cached_property
    def inverse_diagonal(self) -> RealArray:
        """The diagonals of G̃ (groups, d), without the rest of it."""
        diagonal = np.diagonal(self._take_inverse(), axis1=1, axis2=2)
        return np.asarray(diagonal * self.scale * self.scale, dtype=self.dtype)

    def _take_inverse(self) -> FloatArray:
        """Return A⁻¹; where memory is bounded only to be read once, after which it is freed."""
        problem = self.problem
        return problem.damped.take_inverse() if problem.is_tight else problem.inverse

    @cached_property
    def target(self) -> RealArray:
        """R̃ = R/s (groups * rows, d); 0 on dead inputs, which pull at nothing."""
        problem = self.problem
        return self._rows(np.where(problem.damped.dead[:, None, :], 0.0, problem.target / self._s))

    @property
    def free(self) -> RealArray:
        """The unconstrained optimum R A⁻¹ s (groups * rows, d); 0 on dead inputs."""
        return self.make_free()

    def make_free(self) -> RealArray:
        """Make :attr:`free`, unless it is there, and return it."""
        if self._free is None:
            problem = self.problem
            best = problem.weight if problem.cross is None else problem.target @ problem.inverse
            live = np.where(problem.damped.dead[:, None, :], 0.0, best * self._s)
            self._free = self._rows(live)
        return self._free

    @cached_property
    def weight(self) -> RealArray:
        """W s (groups * rows, d)."""
        return self._rows(self.problem.weight * self._s)

    @property
    def _s(self) -> FloatArray:
        return self.scale[:, None, :]

    @cached_property
    def group(self) -> IntArray:
        """The group of each row."""
        groups, rows, _ = self.problem.shape
        return np.repeat(np.arange(groups), rows)

    def _over(self, matrix: FloatArray, factor: FloatArray) -> RealArray:
        result = np.empty(matrix.shape, dtype=self.dtype)
        for out, one, f in zip(result, matrix, factor, strict=True):
            for rows in bands(len(one)):
                np.multiply(one[rows] * f[rows, None], f, out=out[rows], casting="same_kind")
        return result

    def _rows(self, values: FloatArray) -> RealArray:
        return np.ascontiguousarray(values.reshape(-1, values.shape[-1]), dtype=self.dtype)
