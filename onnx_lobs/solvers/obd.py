"""Prunes by Optimal Brain Damage: ``½ w² H_kk``, what a removal costs if no other weight moves.

A weight counts by its size and by how strong its input is. That inputs have much in common, so that
one can stand in for another, is what a diagonal leaves out.

Paper: LeCun, Denker, Solla, NIPS 1989. Objective: the layer error with a diagonal Hessian, for
which the choice is optimal. Cost: O(m d).
"""

from __future__ import annotations

import numpy as np

from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.solution import Selection


def select_obd(problem: Problem) -> Selection:
    """Return the mask of the largest ``w² H_kk``, all rows of the layer compared."""
    diagonal = np.diagonal(problem.hessian, axis1=1, axis2=2)
    scores = np.square(problem.weight) * np.maximum(diagonal, 0.0)[:, None, :]
    scores = problem.protect_live(scores)
    return Selection(problem.pattern.select(scores, problem.n_prune, problem.kernel_size))
