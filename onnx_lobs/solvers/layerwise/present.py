"""Keeps the zeros that a weight has already, where a method would rather have others.

A method looks for the zeros that cost least, and may fill a zero again. A model that is pruned once
more is expected to keep its zeros, so they are put first, and of the method's own the least
important ones make up the number.
"""

from __future__ import annotations

import math

import numpy as np

from onnx_lobs.arrays import BoolArray, FloatArray
from onnx_lobs.solvers.layerwise.task import LayerTask


def with_present_zeros(task: LayerTask, mask: BoolArray, diagonal: FloatArray) -> BoolArray:
    """Return the mask with the same number of zeros, those that the weight has among them.

    Parameters
    ----------
    task
        The layer. Not modified.
    mask
        (groups, rows, d), True = kept, as the method chose. Not modified.
    diagonal
        Of the Hessian, (groups, d): ``w² H_kk`` says which of the method's zeros matter most.

    Returns
    -------
    BoolArray
        `mask` itself where the weight has no zero that it keeps, or where zeros of the pattern go
        together in a way that is not known here. Of tiles, those that are zero as a whole count.
    """
    zeros = task.weight == 0
    if task.pattern.tile is None or not (zeros & mask).any():
        return mask
    importance = task.weight**2 * diagonal[:, None, :]
    importance /= max(float(importance.max()), np.finfo(np.float64).tiny)
    # tiles that are zero, then the method's, whose weights score up to 1, then those it keeps
    chosen = np.where(zeros, 0.0, (1 + importance) / 2)
    scores = np.where(mask & ~zeros, 2 * math.prod(task.pattern.tile) + importance, chosen)
    return task.pattern.select(scores, task.n_prune, task.kernel_size)
