"""Prunes by L-OBS exactly as released (Dong, Chen, Pan, NIPS 2017, arXiv 1705.07565).

Sensitivity of weight q of a row: ``w_q² / (2 G_qq)`` with G = (Psi + 1e-6 I)⁻¹, Psi = XᵀX/n =
H/2. All weights of the layer are sorted by it once; then, in that order, each deletion moves its
row by ``-w_q / G_qq G_q,:`` with the *current* w_q and the *original* G; the deleted weights,
which later deletions move again, are set to zero at the end. No refit. (A row's deletions are
one Gauss-Seidel sweep over the equations that the refit solves exactly.)

As published, a bias is one more weight whose input is the constant 1: the caller passes it as
one more column of W and H, and it may be pruned.

Cost: d³ + n_prune d flops. `cross` is not looked at: the method is layer-independent.
"""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import BoolArray, FloatArray
from onnx_lobs.linalg.factor import damp_gram
from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.solution import Selection, Status

RELEASED_DAMP = 1e-6  # absolute, on Psi: the released code starts Woodbury from 1e6 I


def select_lobs(problem: Problem) -> Selection:
    """Return the released method's mask and values.

    Under other patterns than unstructured the same scores choose the mask, and the deletions
    run in the same order.
    """
    psi = 0.5 * problem.hessian
    each = np.arange(psi.shape[-1])
    psi[:, each, each] += RELEASED_DAMP
    damped = damp_gram(psi, 0.0)
    gram_inverse = damped.take_inverse()
    group, column = np.nonzero(damped.dead)  # where the released code has nothing but its damping
    gram_inverse[group, column, column] = 1 / psi[group, column, column]
    scores = sensitivities(problem.weight, gram_inverse)
    mask = problem.pattern.select(scores, problem.n_prune, problem.kernel_size)
    status = Status.DAMPED if damped.raised > 0 else Status.SOLVED
    weight = delete(problem.weight, gram_inverse, mask)
    info = {"released_damp": RELEASED_DAMP, "raised": damped.raised}
    return Selection(mask, weight, status, info)


def sensitivities(weight: FloatArray, gram_inverse: FloatArray) -> FloatArray:
    """Return ``w_q² / (2 G_qq)`` (groups, rows, d) from W and G (groups, d, d)."""
    diagonal = np.diagonal(gram_inverse, axis1=1, axis2=2)
    scores: FloatArray = np.square(weight) / (2.0 * diagonal[:, None, :])
    return scores


def delete(weight: FloatArray, gram_inverse: FloatArray, mask: BoolArray) -> FloatArray:
    """Return W after deleting the weights where `mask` is False, least sensitive first.

    Parameters
    ----------
    weight
        (groups, rows, d) float64. Not modified.
    gram_inverse
        G (groups, d, d) float64, never recomputed. Not modified.
    mask
        (groups, rows, d) bool, True = kept.

    Notes
    -----
    Rows do not touch each other, so all of them do their t-th deletion at once.
    """
    groups, rows, columns = weight.shape
    current = weight.reshape(-1, columns).copy()
    pruned = ~mask.reshape(-1, columns)
    scores = sensitivities(weight, gram_inverse).reshape(-1, columns)
    order = np.argsort(np.where(pruned, scores, np.inf), axis=1, kind="stable")
    counts = pruned.sum(axis=1)
    group_of = np.repeat(np.arange(groups), rows)
    by_count = np.argsort(-counts, kind="stable")  # rows still at work stay a prefix
    for step in range(int(counts.max(initial=0))):
        active = by_count[: int(np.searchsorted(-counts[by_count], -step, "left"))]
        column, group = order[active, step], group_of[active]
        ratio = current[active, column] / gram_inverse[group, column, column]
        current[active] -= ratio[:, None] * gram_inverse[group, column]
    current[pruned] = 0.0
    result: FloatArray = current.reshape(weight.shape)
    return result
