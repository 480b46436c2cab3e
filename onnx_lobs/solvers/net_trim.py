"""Prunes by Net-Trim, for the linear part of a layer: the sparsest weights near its outputs.

Program: ``min ||V||_1  s.t.  ||V X - T||_F <= eps``, from moments alone. It has the solutions of
``min E(V) + mu ||V||_1``, and eps is what decides the zeros: so mu is found by bisection such that
the number of zeros is the one asked for, each mu solved by ADMM from the last one's result. The
largest of the last iterates are kept where the count is not met exactly.

The published program has T after a ReLU and lets the outputs of inactive neurons be anything
negative (the set Omega). That needs the sign of every sample, and a pruning run keeps moments, not
activations: so it is the linear part that is solved here.

Paper: Aghasi, Abdi, Nguyen, Romberg, NIPS 2017 (arXiv 1611.05162); Aghasi, Abdi, Romberg 2020.
Cost: 3 d³ once, 4 m d² flops a step, 14 values of mu of 25 steps.
"""

from __future__ import annotations

import numpy as np

from onnx_lobs.solvers.admm import TridiagonalResolvent, project
from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.scaled import Scaled
from onnx_lobs.solvers.solution import Selection

BISECTIONS = 14
STEPS = 25
PENALTY = 0.3  # of ADMM, in scaled columns


def select_net_trim(problem: Problem) -> Selection:
    """Return the support of the l1 solution with ``n_prune`` zeros, and its values."""
    # start from W, with a strength between none and that at which all weights are zero
    scaled = Scaled(problem)
    shape = problem.shape
    target = scaled.target.reshape(shape)
    width = (1 / scaled.scale).astype(scaled.dtype)[:, None, :]  # |v| = width |v s|
    resolvent = TridiagonalResolvent(scaled)
    fixed = scaled.weight.reshape(shape).copy()
    multiplier = np.zeros_like(fixed)
    high = float(np.max(np.abs(target) / width, initial=0.0)) or 1.0  # all weights are zero there
    low, strength = high * 1e-8, high * 1e-4
    before = fixed
    for _ in range(BISECTIONS):
        for _ in range(STEPS):
            # ADMM: the free optimum, then shrinkage
            free = resolvent.apply(PENALTY * fixed - multiplier + target, PENALTY)
            before = free + multiplier / PENALTY
            limit = (strength / PENALTY) * width
            fixed = np.sign(before) * np.maximum(np.abs(before) - limit, 0)
            multiplier += PENALTY * (free - fixed)
        # more strength, more zeros
        zeros = int(np.count_nonzero(fixed == 0))
        if zeros == problem.n_prune:
            break
        low, high = (strength, high) if zeros < problem.n_prune else (low, strength)
        strength = float(np.sqrt(low * high))
    mask = project(problem, before / width)  # the order in which growing mu shrinks them to 0
    weight = np.where(mask, fixed, 0).astype(np.float64) / scaled.scale[:, None, :]
    return Selection(mask, weight, info={"mu": strength})
