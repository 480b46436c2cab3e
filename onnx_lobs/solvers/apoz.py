"""Prunes by mean contribution: ``|E[x_j] w_ij|``, pruning by average activity weight by weight.

Paper: after Hu, Peng, Tai, Tang, Network Trimming (APoZ), arXiv 1607.03250, which removes neurons
that are mostly zero; here a weight is worth what it adds to its output on average.
Needs the inputs' mean. Cost: O(m d).
"""

from __future__ import annotations

import numpy as np

from onnx_lobs.errors import ConfigError
from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.solution import Selection


def select_apoz(problem: Problem) -> Selection:
    """Return the mask of the largest ``|E[x_j] w_ij|``.

    Raises
    ------
    ConfigError
        When the problem has no `mean`.
    """
    if problem.mean is None:
        raise ConfigError(
            "method 'apoz' needs the mean input; pass Problem(mean=E[x]) of shape (groups, columns)"
        )
    scores = np.abs(problem.weight * problem.mean[:, None, :])
    scores = problem.protect_live(scores)
    return Selection(problem.pattern.select(scores, problem.n_prune, problem.kernel_size))
