"""Prunes by iterative L-OBS: a part, re-solve, recompute the inverses, the next part.

The paper's iterative form retrains the network between parts; without labels the exact refit of the
layer stands for it. In each of eight parts every row's inverse is that of its kept inputs, so a
sensitivity is exact for the first removal of the part::

    v = R_S A_SS⁻¹        L_q = v_q² / (2 [A_SS⁻¹]_qq)

Paper: Dong, Chen, Pan, NIPS 2017 (arXiv 1705.07565), section 3.3. A pattern that has one count of
zeros is done in one part. Cost per part: k³ flops a row with k kept weights (rows rarely share a
support), and a refit, rows shared out among threads; 32 k² bytes of memory per thread.
"""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import BoolArray, FloatArray
from onnx_lobs.errors import NotPositiveDefiniteError
from onnx_lobs.linalg import lapack
from onnx_lobs.linalg.workers import ThreadBuffers, map_batches
from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.refit import refit
from onnx_lobs.solvers.solution import Selection

PARTS = 8


def select_lobs_iterative(problem: Problem) -> Selection:
    """Return the mask after the last part, and the values refitted on it."""
    mask = np.ones(problem.shape, dtype=np.bool_)
    counts = part_counts(problem)
    for count in counts:
        values = refit(problem, mask)
        scores = np.where(mask, sensitivities(problem, mask, values), 0.0)
        scores[np.broadcast_to(problem.damped.dead[:, None, :], mask.shape)] = 0.0
        mask = problem.pattern.select(scores, count, problem.kernel_size)
    return Selection(mask, info={"parts": len(counts)})


def part_counts(problem: Problem) -> list[int]:
    """Return how many zeros there are after each part; the last is ``n_prune``."""
    if problem.pattern.own_sparsity is not None or problem.weight.size == 0:
        return [problem.n_prune]
    share = problem.n_prune / problem.weight.size
    wanted = [share * part / PARTS for part in range(1, PARTS)]
    counts = [problem.pattern.closest(problem.shape, w, problem.kernel_size) for w in wanted]
    return sorted({c for c in counts if c < problem.n_prune} | {problem.n_prune})


def sensitivities(problem: Problem, mask: BoolArray, values: FloatArray) -> FloatArray:
    """Return ``v_q² / (2 [A_SS⁻¹]_qq)`` for the kept weights; anything for the others."""
    rows, columns = problem.shape[1:]
    # G_qq of each row's kept weights: the whole inverse's where all are kept
    flat = mask.reshape(-1, columns)
    diagonal = np.ones(flat.shape)
    full = np.diagonal(problem.inverse, axis1=1, axis2=2)
    scratch = ThreadBuffers()

    def one(row: int) -> None:
        kept = np.flatnonzero(flat[row])
        if kept.size == columns:
            diagonal[row] = full[row // rows]
        elif kept.size:
            system = scratch.upper(problem.damped.matrix[row // rows], kept)
            diagonal[row, kept] = _inverse_diagonal(system)

    map_batches(one, range(len(flat)), problem.batching.workers)
    return np.asarray(0.5 * np.square(values) / diagonal.reshape(mask.shape))


def _inverse_diagonal(system: FloatArray) -> FloatArray:
    status = lapack.potrf(system)
    if status:
        raise NotPositiveDefiniteError(
            f"the Hessian of {len(system)} kept inputs is singular at pivot {status}; raise damp"
        )
    lapack.trtri(system)
    return np.asarray(np.square(np.triu(system)).sum(axis=1))
