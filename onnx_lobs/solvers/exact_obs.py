"""Prunes by exact greedy Optimal Brain Surgeon: the cheapest weight first, all others re-solved.

Objective: the damped layer error of :mod:`onnx_lobs.solvers.problem`. Each row starts from its
unconstrained optimum ``R A⁻¹`` (W itself, without a dense target) and G = A⁻¹, and loses the weight
with the least ``w_p² / (2 G_pp)``; the others move to their new optimum, and G is downdated.
Rows do not touch each other, so one pass to the end serves every count of zeros: the recorded
costs, made monotone, are merged into one choice over the whole layer (row budgets free).

N:M: a weight may go while its window has zeros left to give. Blocks: the cheapest block goes as
one, with ``w_b (G_bb)⁻¹ w_bᵀ / 2`` summed over its rows, which share one support and so one G.

Paper: Frantar, Alistarh, Optimal Brain Compression, NeurIPS 2022 (arXiv 2208.11580).
Cost: n³/3 flops a row in SYRK (2/3 n³ as GEMM), see
:mod:`onnx_lobs.solvers.elimination.elimination`. Memory: 6 bytes per weight for the traces, and 256
MB of work per thread (16 MB or a row, compiled).
"""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import FloatArray
from onnx_lobs.linalg import compiled
from onnx_lobs.linalg.workers import ThreadBuffers, map_batches
from onnx_lobs.patterns import Quota
from onnx_lobs.solvers.elimination.block_elimination import block_costs
from onnx_lobs.solvers.elimination.elimination import Trace, eliminate
from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.scaled import Scaled
from onnx_lobs.solvers.solution import Selection

BATCH_BYTES = 256 << 20  # of the inverses of one batch: some 48 rows of 1152 share each step
APART_BYTES = 16 << 20  # the same where a compiled loop takes each row by itself
MOST_ROWS, MOST_SHORT_ROWS, SHORT = 64, 512, 48  # of a batch; the second of rows below SHORT
TIE = 1e-12  # relative: keeps equal costs of one row in the order of their removal


def select_exact_obs(problem: Problem) -> Selection:
    """Return the mask of the exact greedy elimination, row budgets merged.

    Parameters
    ----------
    problem
        The layer. Not modified.
    """
    if problem.n_prune in (0, problem.weight.size):
        return Selection(np.full(problem.shape, problem.n_prune == 0))
    scores = elimination_costs(problem, Scaled(problem))
    return Selection(problem.pattern.select(scores, problem.n_prune, problem.kernel_size))


def elimination_costs(problem: Problem, scaled: Scaled) -> FloatArray:
    """Return what the removal of each weight cost at its turn, (groups, rows, d).

    Made monotone along each row's order, so the lowest ones of any number are those that went
    first. Under a quota the weights that stay are above all others; the weights of one block share
    its cost equally.
    """
    if problem.pattern.tile != (1, 1):
        return block_costs(problem, scaled)
    quota = problem.quota
    steps = problem.shape[2] if quota is None else int(quota.zeros.sum())
    trace = trace_rows(scaled, steps, quota)
    return spread_costs(trace, problem.shape[2]).reshape(problem.shape)


def trace_rows(scaled: Scaled, steps: int, quota: Quota | None = None) -> Trace:
    """Return the elimination of all rows, in batches on all cores."""
    rows, columns = scaled.free.shape
    # as many rows to a batch as its inverses may take
    batching = scaled.problem.batching
    most = APART_BYTES if compiled.is_available() else BATCH_BYTES
    size = batching.size(most) // (scaled.inverse.itemsize * columns * columns)
    size = int(np.clip(size, 1, MOST_ROWS if columns >= SHORT else MOST_SHORT_ROWS))
    starts = range(0, rows, size)
    inverse, free, group = scaled.inverse, scaled.free, scaled.group
    buffers = ThreadBuffers()

    def one(start: int) -> Trace:
        # every row has its own inverse, which its elimination overwrites
        part = slice(start, start + size)
        copies = buffers.array("inverse", (len(group[part]), columns, columns), inverse.dtype)
        for copy, number in zip(copies, group[part], strict=True):
            copy[:] = inverse[number]
        return eliminate(copies, free[part, None].copy(), steps, quota=quota)

    traces = map_batches(one, starts, batching.workers)
    if not traces:
        return Trace(np.zeros((0, steps), np.uint16), np.zeros((0, steps), np.float32))
    order = np.concatenate([t.order for t in traces])
    return Trace(order, np.concatenate([t.cost for t in traces]))


def spread_costs(trace: Trace, columns: int) -> FloatArray:
    """Return the monotone costs at the positions of the weights, (rows, columns)."""
    cost = np.maximum.accumulate(trace.cost.astype(np.float64), axis=1)
    cost *= 1 + TIE * np.arange(cost.shape[1])
    beyond = 2 * cost.max(initial=0.0) + 1
    scores = np.full((len(cost), columns), beyond)
    np.put_along_axis(scores, trace.order.astype(np.int64), cost, axis=1)
    return scores
