"""Prunes at random: the floor that every method must beat.

Objective: none. Uniform scores from the problem's seed. Cost: O(m d).
"""

from __future__ import annotations

import numpy as np

from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.solution import Selection


def select_random(problem: Problem) -> Selection:
    """Return a mask drawn uniformly among those that the pattern allows."""
    scores = np.random.default_rng(problem.seed).random(problem.shape)
    return Selection(problem.pattern.select(scores, problem.n_prune, problem.kernel_size))
