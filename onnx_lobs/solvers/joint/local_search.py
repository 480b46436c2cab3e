"""Improves a support: a band of doubtful weights is let in and eliminated again, exactly.

A round takes, per row, the kept weights that cost least and the pruned ones that would gain most
(the band), starts from the row's optimum with all of them kept and eliminates as many as were
pruned, the cheapest first, all others following exactly. So one round tries any number of
simultaneous swaps, 1-swaps and 2-swaps among them. A row whose new support is not better keeps its
old one. Where rows share their zeros, the costs of the rows that changed are merged into one
choice, which moves zeros from row to row. Where windows have a quota of zeros, the band is made of
whole windows; where tiles go, of whole blocks of a bundle of rows.

The doubtful are found from ``z = v² / x`` (kept) and ``z = r² x`` (pruned, r the gradient) with
x between 1/Ã_jj = 1 and G̃_jj, the values for few and for many kept weights.

Cost per round: see :mod:`onnx_lobs.solvers.joint.band`, m d² for the gradient, and a refit in
float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import BoolArray, FloatArray, IntArray, RealArray
from onnx_lobs.linalg.workers import map_batches
from onnx_lobs.patterns import Quota
from onnx_lobs.solvers.elimination.block_elimination import eliminate_blocks
from onnx_lobs.solvers.elimination.elimination import eliminate
from onnx_lobs.solvers.elimination.tiles import Tiles
from onnx_lobs.solvers.joint.band import (
    BATCH_BYTES,
    Batch,
    bordered_cholesky,
    gather,
    make_batches,
    padded_columns,
    reduce_to_band,
)
from onnx_lobs.solvers.scaled import Scaled

BETTER = 1e-5  # relative: float32 cannot tell smaller differences of cost
TIE = 1e-12


@dataclass(frozen=True)
class _Trial:
    """What a batch found: per bundle the band in the order of its elimination, and costs.

    `order` (bundles, c) blocks, `cost` (bundles, c) each step's, infinite once none is left; `old`
    what the pruned part of the band costs now, `zeros` how many blocks that is.
    """

    rows: IntArray
    order: IntArray
    cost: FloatArray
    old: FloatArray
    zeros: IntArray


def search_round(
    scaled: Scaled,
    mask: BoolArray,
    values: RealArray,
    share: float,
    also: BoolArray | None = None,
) -> BoolArray:
    """Return a mask (rows, d) that is as good or better.

    Parameters
    ----------
    scaled
        The problem.
    mask
        (rows, d), True = kept. Not modified.
    values
        Scaled weights on it, near the optimum (they only choose the band). Not modified.
    share
        Of the smaller side of each row's support, on both sides of the band's middle.
    also
        (rows, d): True = let into the band in any case, such as where another good mask differs.
    """
    # let the doubtful weights in
    tiles = Tiles.of(scaled.problem)
    own = mask.reshape(scaled.target.shape)[_first_rows(tiles)]
    band = doubtful(scaled, mask, values, share)
    if also is not None:
        more = also[_first_rows(tiles)] & tiles.movable
        band |= _whole_windows(scaled, more)
    # eliminate the bands of all bundles, in batches of about one size
    batching = scaled.problem.batching
    most = batching.size(BATCH_BYTES)
    batches = make_batches(own, band, scaled.matrix.itemsize, most)
    if any(batch.on_pruned for batch in batches):
        scaled.make_inverse()  # here, not in each of the threads
    trials = map_batches(
        lambda batch: _try(scaled, tiles, own, band, batch), batches, batching.workers
    )
    # prune as many of each band as its budget says, the first that went
    result: BoolArray = own.copy()
    taken = _budgets(trials, scaled, tiles)
    for trial, counts in zip(trials, taken, strict=True):
        for row, order, count in zip(trial.rows, trial.order, counts, strict=True):
            if count >= 0:
                result[row] |= band[row]
                result[row, tiles.columns[order[:count]]] = False
    return np.asarray(tiles.spread(result))


def _first_rows(tiles: Tiles) -> IntArray:
    """Return the first row of each bundle, whose support all its rows have."""
    groups, rows, _ = tiles.shape
    first = np.arange(0, rows, tiles.height)
    return np.asarray((rows * np.arange(groups)[:, None] + first).ravel())


def doubtful(scaled: Scaled, mask: BoolArray, values: RealArray, share: float) -> BoolArray:
    """Return the band (bundles, d)."""
    # the gradient, R̃ - V Ã
    shape = scaled.problem.shape
    gradient = (values.reshape(shape) @ scaled.matrix).reshape(mask.shape)
    np.subtract(scaled.target, gradient, out=gradient)
    # what a kept weight costs, and what a pruned one would gain; dead inputs stay out
    kept = mask.sum(axis=1)
    diagonal = scaled.inverse_diagonal[scaled.group]
    free = diagonal ** (kept / mask.shape[1])[:, None]
    worth = np.where(mask, np.square(values) / free, np.square(gradient) * free)
    dead = scaled.problem.damped.dead
    worth[dead[scaled.group] & ~mask] = -1.0
    quota = scaled.problem.quota
    if quota is not None:
        return _doubtful_windows(quota.window, mask, worth, share)
    tiles = Tiles.of(scaled.problem)
    if tiles.height * tiles.width > 1:
        return _doubtful_blocks(tiles, mask, worth, share)
    return _doubtful_of(mask, worth, share)


def _doubtful_of(mask: BoolArray, worth: RealArray, share: float) -> BoolArray:
    """Return the cheapest kept and the most wanted pruned candidates of each bundle."""
    kept = mask.sum(axis=1)
    number = np.ceil(share * np.minimum(kept, mask.shape[1] - kept)).astype(np.int64)
    rank_kept = _rank(np.where(mask, worth, np.inf))
    rank_pruned = _rank(np.where(mask, np.inf, -worth))
    rank = np.where(mask, rank_kept, rank_pruned)
    return np.asarray(rank < number[:, None])


def _doubtful_blocks(tiles: Tiles, mask: BoolArray, worth: RealArray, share: float) -> BoolArray:
    """Return the columns of whole blocks of full width, ranked by the sum of their worths."""
    total = tiles.gather(worth).sum(axis=1)[:, tiles.columns].sum(axis=2)
    full = np.flatnonzero(tiles.real.all(axis=1))
    kept = mask[_first_rows(tiles)][:, tiles.columns[full, 0]]
    chosen = _doubtful_of(kept, total[:, full], share)
    band = np.zeros((len(kept), mask.shape[1]), dtype=np.bool_)
    bundle, block = np.nonzero(chosen)
    band[bundle[:, None], tiles.columns[full[block]]] = True
    return band


def _rank(values: RealArray) -> IntArray:
    """Return each entry's place in its row, ascending."""
    order = np.argsort(values, axis=1)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(values.shape[1])[None], axis=1)
    return rank


def _doubtful_windows(
    window: IntArray, mask: BoolArray, worth: RealArray, share: float
) -> BoolArray:
    """Return whole windows: those whose best pruned weight comes nearest to its worst kept."""
    order = np.argsort(window, kind="stable")
    starts = np.flatnonzero(np.diff(window[order], prepend=-1))
    best = np.maximum.reduceat(np.where(mask, -1.0, worth)[:, order], starts, axis=1)
    worst = np.minimum.reduceat(np.where(mask, worth, np.inf)[:, order], starts, axis=1)
    with np.errstate(over="ignore"):  # beside a kept weight of no worth, doubt is infinite
        doubt = np.maximum(best, 0) / np.maximum(worst, np.finfo(worth.dtype).tiny)
    number = int(np.ceil(share * starts.size))
    return np.asarray((_rank(-doubt) < number)[:, window])


def _whole_windows(scaled: Scaled, chosen: BoolArray) -> BoolArray:
    """Return `chosen`; where there are windows, with all weights of one of which some are."""
    quota = scaled.problem.quota
    if quota is None:
        return chosen
    hit = np.zeros((len(chosen), quota.zeros.size), dtype=np.bool_)
    row, column = np.nonzero(chosen)
    hit[row, quota.window[column]] = True
    return np.asarray(hit[:, quota.window])


def _try(scaled: Scaled, tiles: Tiles, mask: BoolArray, band: BoolArray, batch: Batch) -> _Trial:
    """Eliminate the bands of a batch of bundles."""
    reduced = reduce_to_band(scaled, tiles, mask, band, batch)
    rows, width = batch.rows, tiles.width
    pruned = reduced.real & ~np.take_along_axis(mask[rows], reduced.columns, axis=1)
    zeros = pruned.sum(axis=1) // width
    old = _cost_of(reduced.inverse, reduced.weight, pruned)
    quota = scaled.problem.quota
    if quota is not None:
        steps, part = int(zeros.max(initial=0)), Quota(quota.window[reduced.columns], quota.zeros)
        trace = eliminate(reduced.inverse, reduced.weight.copy(), steps, reduced.real, part)
    else:
        trace = eliminate_blocks(reduced.inverse, reduced.weight.copy(), width, reduced.real)
    order = np.take_along_axis(reduced.index, trace.order.astype(np.int64), axis=1)
    return _Trial(rows, order, trace.cost.astype(np.float64), old, zeros)


def _cost_of(inverse: RealArray, weight: RealArray, pruned: BoolArray) -> FloatArray:
    """Return ``½ w_D (G_DD)⁻¹ w_Dᵀ``, over the bundle's rows, for the pruned D of each bundle."""
    places, real = padded_columns(pruned)
    height = weight.shape[1]
    systems = gather(inverse, np.arange(len(inverse)), places, real, height)
    side = np.take_along_axis(weight, places[:, None], axis=2) * real[:, None]
    lower = bordered_cholesky(systems, side, np.full(len(side), np.inf))
    known = lower[:, -height:, :-height].astype(np.float64)
    return np.asarray(0.5 * np.square(known).sum(axis=(1, 2)))


def _budgets(trials: list[_Trial], scaled: Scaled, tiles: Tiles) -> list[IntArray]:
    """Return how many of each row's band are pruned; -1 where the old support stays."""
    same = [_cost_up_to(trial, trial.zeros) for trial in trials]
    better = [new < trial.old * (1 - BETTER) for new, trial in zip(same, trials, strict=True)]
    own = [np.where(b, t.zeros, -1) for b, t in zip(better, trials, strict=True)]
    if not scaled.problem.pattern.shares_rows:
        return own
    # of all steps of the bundles that may exchange zeros, as many of the cheapest as now
    full = tiles.heights == tiles.height  # fewer rows: the block counts for less
    free = [(new <= t.old) & full[t.rows] for new, t in zip(same, trials, strict=True)]
    total = sum(int(t.zeros[f].sum()) for t, f in zip(trials, free, strict=True))
    if not total:
        return own
    threshold = _threshold([t.cost[f] for t, f in zip(trials, free, strict=True)], total)
    # keep the exchange if it has exactly as many zeros and costs no more
    merged = []
    for trial, chosen, alone in zip(trials, free, own, strict=True):
        count = (_monotone(trial.cost) <= threshold).sum(axis=1)
        merged.append(np.where(chosen, count, alone))
    cost = sum(
        float(_cost_up_to(t, c)[f].sum()) for t, c, f in zip(trials, merged, free, strict=True)
    )
    before = sum(float(new[f].sum()) for new, f in zip(same, free, strict=True))
    exact = sum(int(c[f].sum()) for c, f in zip(merged, free, strict=True)) == total
    return merged if exact and cost <= before else own


def _threshold(costs: list[FloatArray], total: int) -> float:
    """Return the cost up to which exactly `total` steps are cheaper, barring ties."""
    every = np.concatenate([_monotone(cost).ravel() for cost in costs])
    return float(np.partition(every, total - 1)[total - 1])


def _monotone(cost: FloatArray) -> FloatArray:
    return np.asarray(np.maximum.accumulate(cost, axis=1) * (1 + TIE * np.arange(cost.shape[1])))


def _cost_up_to(trial: _Trial, counts: IntArray) -> FloatArray:
    """Return each row's sum of the first `counts` costs."""
    chosen = np.arange(trial.cost.shape[1]) < counts[:, None]
    return np.asarray(np.where(chosen, trial.cost, 0.0).sum(axis=1))
