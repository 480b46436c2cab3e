"""Net-Trim as published, for a layer whose outputs pass a ReLU and whose samples are at hand.

With Y = X Wᵀ (n, rows) and Omega = {Y > 0}, the outputs that are active::

    min ||V||_1   s.t.   ||(X Vᵀ - Y)_Omega||_F <= eps     (X Vᵀ)_i <= 0 outside Omega

An inactive output may be anything negative. ADMM splits V and Z = X Vᵀ, in columns scaled to unit
norm, with multipliers U1, U2 and one factorisation of I + XᵀX::

    P = (I + XᵀX)⁻¹ (Xᵀ(Z + U1) + V + U2)     Z = project(X P - U1)     V = shrink(P - U2)

eps decides the zeros, so it is found by bisection for the number asked for, each from the last
one's state. Thresholds are those of the true weights: ``|v| = |scaled v| / norm``.

Paper: Aghasi, Abdi, Nguyen, Romberg, NIPS 2017 (arXiv 1611.05162); Aghasi, Abdi, Romberg 2020.
Cost: d³, and 4 n d m flops a step, 14 values of eps of 40 steps. Memory: 6 arrays (n, rows).
"""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import FloatArray
from onnx_lobs.linalg.factor import cholesky, inverse
from onnx_lobs.solvers.admm import project
from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.solution import Selection

BISECTIONS = 14
STEPS = 40
THRESHOLD = 0.5  # of the weights' root mean square, per step: 1 over ADMM's penalty


class _Program:
    """One layer's data in scaled columns, and ADMM's state."""

    def __init__(self, problem: Problem, samples: FloatArray) -> None:
        norm = np.sqrt(np.square(samples).sum(axis=1, keepdims=True))
        self.norm = np.where(norm > 0, norm, 1.0)
        self.x = samples / self.norm
        self.back = np.ascontiguousarray(self.x.swapaxes(1, 2))
        self.solver = inverse(cholesky(self.back @ self.x + np.eye(samples.shape[2])))
        self.goal = samples @ problem.weight.swapaxes(1, 2)
        self.active = self.goal > 0
        self.kept = problem.weight * self.norm  # V
        self.output = self.goal.copy()  # Z
        self.first, self.second = np.zeros_like(self.goal), np.zeros_like(self.kept)  # U1, U2
        width = 1 / self.norm
        size = float(np.sqrt(np.square(self.kept).mean())) if self.kept.size else 0.0
        self.limit = THRESHOLD * (size or 1.0) * width / width.mean()
        self.before = self.kept

    def run(self, eps: float) -> None:
        """Do the steps of one eps."""
        for _ in range(STEPS):
            right = (self.output + self.first).swapaxes(1, 2) @ self.x + self.kept + self.second
            middle = right @ self.solver
            reached = self.x @ middle.swapaxes(1, 2)
            self.output = self._allowed(reached - self.first, eps)
            self.before = middle - self.second
            size = np.maximum(np.abs(self.before) - self.limit, 0)
            self.kept = np.sign(self.before) * size
            self.first += self.output - reached
            self.second += self.kept - middle

    def _allowed(self, output: FloatArray, eps: float) -> FloatArray:
        """Return the nearest outputs that the constraints allow."""
        miss = np.where(self.active, output - self.goal, 0.0)
        length = float(np.linalg.norm(miss))
        near = self.goal + miss * min(1.0, eps / length if length else 1.0)
        return np.where(self.active, near, np.minimum(output, 0.0))


def select_net_trim_relu(problem: Problem, samples: FloatArray) -> Selection:
    """Return the support of the program's solution with ``n_prune`` zeros, and its values.

    Parameters
    ----------
    problem
        The layer. Its Hessian is not looked at, but for dead inputs. Not modified.
    samples
        X (groups, n, d) float64, the inputs of the layer. Not modified.
    """
    program = _Program(problem, samples)
    low, high = 0.0, float(np.linalg.norm(program.goal[program.active]))
    eps = 0.1 * high
    for _ in range(BISECTIONS):
        program.run(eps)
        zeros = int(np.count_nonzero(program.kept == 0))
        if zeros == problem.n_prune:
            break
        low, high = (eps, high) if zeros < problem.n_prune else (low, eps)
        eps = 0.5 * (low + high)
    mask = project(problem, program.before / program.limit)
    weight = np.where(mask, program.kept / program.norm, 0.0)
    return Selection(mask, weight, info={"eps": eps})
