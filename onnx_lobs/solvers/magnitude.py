"""Prunes by magnitude: the smallest weights of the layer go (Han et al. 2015, arXiv 1506.02626).

A small weight changes its output little, unless its input is large or speaks for other inputs: what
it does not look at is what the other methods gain by. Objective: none of the layer's inputs,
``min ||V - W||²``. Cost: one partition, O(m d).
"""

from __future__ import annotations

import numpy as np

from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.solution import Selection


def select_magnitude(problem: Problem) -> Selection:
    """Return the mask of the largest ``|W|`` that the pattern allows.

    Neither the Hessian nor dead inputs are looked at. In a block the squares add up.
    """
    scores = np.square(problem.weight)
    return Selection(problem.pattern.select(scores, problem.n_prune, problem.kernel_size))
