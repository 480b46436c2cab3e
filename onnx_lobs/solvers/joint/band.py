"""Reduces the layer problem of each row to a band: a few candidates, all other weights settled.

With K kept for sure, P pruned for sure and C the band, the row's optimum over K and C is known
from one Cholesky factorisation of either side, the smaller of the two::

    kept side     L Lᵀ = Ã over (K, C)     G_C = (L_CC L_CCᵀ)⁻¹     w_C = L_CC⁻ᵀ y_C     y = L⁻¹ R̃
    pruned side   L Lᵀ = G̃ over (P, C)     G_C = L_CC L_CCᵀ         w_C = L_CC y_C       y = L⁻¹ w

where w = R̃ G̃ is the unconstrained optimum. Eliminating from C with (w_C, G_C) is exact OBS: the
settled weights follow without being looked at. y comes for free as the last row of the factor of
the matrix bordered by the right side. The rows of a block share their support and so one factor,
bordered by all their right sides.

Cost per row: (s³ + c³)/3 flops for s settled and band weights together, c in the band.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import BoolArray, FloatArray, IntArray, RealArray
from onnx_lobs.errors import NotPositiveDefiniteError
from onnx_lobs.linalg import lapack
from onnx_lobs.linalg.triangles import mirror_lower
from onnx_lobs.linalg.workers import ThreadBuffers
from onnx_lobs.solvers.elimination.tiles import Tiles
from onnx_lobs.solvers.scaled import Scaled

BATCH_BYTES = 96 << 20  # of the systems of one batch: a quarter faster than 24 MB on wide layers
MOST_ROWS, MOST_SHORT_ROWS = 64, 512  # of a batch; the second of systems below LOOPED
LOOPED = 48  # from this size on a call per matrix is faster than NumPy's batched one
NARROWEST = 16  # sizes that differ by less make one batch: a batch costs more than their padding
BORDER = 4.0  # of the row's energy: more than any yᵀy, so the bordered matrix stays positive


@dataclass(frozen=True)
class Batch:
    """Bundles of one side with supports of about one size."""

    rows: IntArray
    on_pruned: bool


@dataclass(frozen=True)
class Reduced:
    """The band problem of a batch: w_C (bundles, height, c), G_C, and the candidates.

    `columns` and `real` (bundles, c) are the columns and which of them are no padding; `index`
    (bundles, c / width) the numbers of their blocks.
    """

    index: IntArray
    columns: IntArray
    real: BoolArray
    weight: RealArray
    inverse: RealArray


def make_batches(
    mask: BoolArray, band: BoolArray, itemsize: int, batch_bytes: int = BATCH_BYTES
) -> list[Batch]:
    """Cut the rows into batches of one side, similar size and bounded memory.

    Parameters
    ----------
    mask, band
        (rows, d): True = kept; True = in the band.
    itemsize, batch_bytes
        Of a number, and of the systems of one batch; a row that is larger is one by itself.
    """
    # the side with fewer settled weights, and the size of its systems
    inside = band.sum(axis=1)
    kept = (mask & ~band).sum(axis=1)
    pruned = mask.shape[1] - inside - kept
    on_pruned = pruned < kept
    size = np.where(on_pruned, pruned, kept) + inside
    order = np.lexsort((size, on_pruned))
    order = order[inside[order] > 0]
    # runs of one side and about one size, as many as the memory lets
    batches, start = [], 0
    while start < order.size:
        first = order[start]
        widest = size[first] + max(size[first] // 4 + 4, NARROWEST)
        limit = MOST_ROWS if widest >= LOOPED else MOST_SHORT_ROWS
        most = int(np.clip(batch_bytes // (itemsize * widest**2), 1, limit))
        some = order[start : start + most]
        fits = (size[some] <= widest) & (on_pruned[some] == on_pruned[first])
        end = start + (int(np.argmin(fits)) if not fits.all() else some.size)
        batches.append(Batch(order[start:end], bool(on_pruned[first])))
        start = end
    return batches


def reduce_to_band(
    scaled: Scaled, tiles: Tiles, mask: BoolArray, band: BoolArray, batch: Batch
) -> Reduced:
    """Return w_C and G_C of every bundle of the batch; `mask` and `band` (bundles, d)."""
    # the settled weights that count on this side, and the candidates
    rows, inside = batch.rows, band[batch.rows]
    settled = ~inside & (mask[rows] != batch.on_pruned)
    fixed, fixed_real = padded_columns(settled)
    index, columns, real = _band_columns(tiles, inside)
    # the bordered system of every bundle: settled first, then the band, then the right sides
    matrix = scaled.inverse if batch.on_pruned else scaled.matrix
    free, target = tiles.gather(scaled.free)[rows], tiles.gather(scaled.target)[rows]
    right = free if batch.on_pruned else target
    wide = np.concatenate([fixed, columns], axis=1)
    exists = np.concatenate([fixed_real, real], axis=1)
    systems = gather(matrix, tiles.group[rows], wide, exists, tiles.height)
    side = np.take_along_axis(right, wide[:, None], axis=2) * exists[:, None]
    # its Cholesky factor holds both w_C and G_C in the rows of the band
    energy = np.einsum("uhd,uhd->u", free, target)
    lower = bordered_cholesky(systems, side, BORDER * np.abs(energy) + 1e-30)
    start, end = fixed.shape[1], wide.shape[1]
    inner, y = np.tril(lower[:, start:end, start:end]), lower[:, end:, start:end]
    if batch.on_pruned:
        inverse = inner @ inner.swapaxes(1, 2)
        weight = y @ inner.swapaxes(1, 2)
    else:
        back = _invert_lower(inner)
        inverse = back.swapaxes(1, 2) @ back
        weight = y @ back
    return Reduced(index, columns, real, weight * real[:, None], inverse)


def _band_columns(tiles: Tiles, inside: BoolArray) -> tuple[IntArray, IntArray, BoolArray]:
    """Return the band's blocks, and their columns as `eliminate_blocks` wants them."""
    index, real = padded_columns(inside[:, tiles.columns[:, 0]])
    columns = tiles.columns[index].swapaxes(1, 2).reshape(len(index), -1)
    return index, columns, np.tile(real, (1, tiles.width))


def padded_columns(chosen: BoolArray) -> tuple[IntArray, BoolArray]:
    """Return the chosen columns of each row, ascending, padded to one width, and which are real."""
    counts = chosen.sum(axis=1)
    width = int(counts.max(initial=0))
    real = np.arange(width) < counts[:, None]
    columns = np.zeros(real.shape, dtype=np.int64)
    columns[real] = np.nonzero(chosen)[1]
    return columns, real


def gather(
    matrix: RealArray, group: IntArray, columns: IntArray, real: BoolArray, border: int
) -> RealArray:
    """Return ``matrix[g][columns, columns]`` per bundle, with room for `border` right sides.

    Padding is the identity.
    """
    rows, width = columns.shape
    result = np.empty((rows, width + border, width + border), dtype=matrix.dtype)
    if width < LOOPED:
        places = group[:, None, None], columns[:, :, None], columns[:, None, :]
        result[:, :width, :width] = matrix[places]
    else:
        _gather_each(result[:, :width, :width], matrix, group, columns)
    if not real.all():
        result[:, :width, :width] *= real[:, :, None] & real[:, None, :]
        each = np.arange(width)
        result[:, each, each] += ~real
    return result


def _gather_each(result: RealArray, matrix: RealArray, group: IntArray, columns: IntArray) -> None:
    """Write ``matrix[g][columns, columns]`` of each bundle to `result`, one after the other."""
    scratch = ThreadBuffers()
    part = scratch.array("part", result.shape[1:], matrix.dtype)
    for out, one, g in zip(result, columns, group, strict=True):
        out[:] = scratch.principal(matrix[g], one, part)


def bordered_cholesky(systems: RealArray, side: RealArray, corner: RealArray) -> RealArray:
    """Return L of ``[[M, Bᵀ], [B, corner I]]``, whose last rows are ``B L⁻ᵀ``.

    B is (bundles, height, n). `systems` is overwritten, and what is above the diagonals of the
    result is undefined. A float32 matrix that is not positive in float32 is factored in float64.
    """
    height, width = side.shape[1:]
    # put the border on: the right sides, and a corner that keeps the whole positive
    systems[:, width:, :width] = side
    systems[:, :width, width:] = side.swapaxes(1, 2)
    each = np.arange(width, width + height)
    systems[:, width:, width:] = 0.0
    systems[:, each, each] = corner[:, None]
    # factor; where float32 does not do, restore the diagonal and take float64
    diagonal = np.diagonal(systems, axis1=1, axis2=2).copy()
    lower = _factor(systems)
    if lower is None:
        each = np.arange(width + height)
        systems[:, each, each] = diagonal
        lower = _factor(_mirrored(systems))
    if lower is None:
        raise NotPositiveDefiniteError(
            "the Hessian of the kept inputs is singular to working precision; raise damp"
        )
    return np.asarray(lower.astype(systems.dtype, copy=False))


def _factor(systems: RealArray) -> RealArray | None:
    """Return L of each system, or None when one is not positive.

    What is above the diagonals of the result is undefined. The diagonals of `systems` and what is
    above them may be overwritten, and the result may lie there.
    """
    if systems.shape[-1] < LOOPED:
        try:
            return np.asarray(np.linalg.cholesky(systems))
        except np.linalg.LinAlgError:
            return None
    for one in systems:
        if lapack.potrf(one):
            return None
    return np.asarray(systems.swapaxes(1, 2))


def _mirrored(systems: RealArray) -> FloatArray:
    """Return systems in float64, made symmetric from what is below their diagonals."""
    result = systems.astype(np.float64)
    mirror_lower(result)
    return result


def _invert_lower(lower: RealArray) -> RealArray:
    if lower.shape[1] < LOOPED:
        return np.asarray(np.linalg.inv(lower))
    upper = np.ascontiguousarray(lower.swapaxes(1, 2))
    for one in upper:
        lapack.trtri(one)
    return np.asarray(upper.swapaxes(1, 2))
