"""Prunes by Wanda: ``|w| ||x||``, compared inside each output row.

Its scores are those of Optimal Brain Damage up to a square; what is new is that every output keeps
as many inputs as the others, so that none is left without.

Paper: Sun, Liu, Bair, Kolter, ICLR 2024 (arXiv 2306.11695). Objective: the layer error with a
diagonal Hessian, every row pruned alike. Rows get the same number of zeros, give or take one;
under N:M the windows decide, and blocks are compared over the layer. Cost: O(m d log d).
"""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import FloatArray
from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.solution import Selection


def select_wanda(problem: Problem) -> Selection:
    """Return the mask of the largest ``|w_ij| sqrt(H_jj)`` of each row."""
    diagonal = np.diagonal(problem.hessian, axis1=1, axis2=2)
    scores = np.abs(problem.weight) * np.sqrt(np.maximum(diagonal, 0.0))[:, None, :]
    scores = problem.protect_live(scores)
    if problem.pattern.is_free:
        scores = rank_in_rows(scores)
    return Selection(problem.pattern.select(scores, problem.n_prune, problem.kernel_size))


def rank_in_rows(scores: FloatArray) -> FloatArray:
    """Return each score's rank in its row, plus its size below 1 to break ties between rows."""
    order = np.argsort(scores, axis=2, kind="stable")
    rank = np.empty(scores.shape)
    np.put_along_axis(rank, order, np.arange(scores.shape[2], dtype=np.float64), axis=2)
    largest = scores.max(initial=0.0)
    return rank + (0.5 * scores / largest if largest > 0 else 0.0)
