"""Prunes by correlation: weights go whose input says least about their output.

Score ``|corr(x_j, z_i)|`` for input x_j and pre-activation z_i = W_i x, from moments alone::

    corr = (W H)_ij / sqrt(H_jj (W H Wᵀ)_ii)

It is Pearson's correlation when H is centred (as it is for layers whose bias may change), and the
cosine about zero when it is not.

Paper: Sun, Wang, Tang, Sparsifying neural network connections for face recognition, CVPR 2016
(arXiv 1512.01891). Cost: 2 m d² flops.
"""

from __future__ import annotations

import numpy as np

from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.solution import Selection


def select_correlation(problem: Problem) -> Selection:
    """Return the mask of the largest ``|corr(x_j, z_i)|``."""
    shared = problem.weight @ problem.hessian
    output = np.einsum("grd,grd->gr", shared, problem.weight)[:, :, None]
    inputs = np.diagonal(problem.hessian, axis1=1, axis2=2)[:, None, :]
    spread = np.sqrt(np.maximum(output, 0.0) * np.maximum(inputs, 0.0))
    scores = np.abs(shared) / np.where(spread > 0, spread, np.inf)
    scores = problem.protect_live(scores)
    return Selection(problem.pattern.select(scores, problem.n_prune, problem.kernel_size))
