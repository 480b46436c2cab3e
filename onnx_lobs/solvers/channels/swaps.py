"""Exchanges channels that went for others that cost less, as long as that lowers the error.

With P the columns that are gone, M = ((H⁻¹)_PP)⁻¹ and U = W_P M, the error is tr(U W_Pᵀ). To let
the columns p of P stay after all lowers it by ``tr(U_p M_pp⁻¹ U_pᵀ)``; to let further columns go
raises it as in :mod:`onnx_lobs.solvers.channels.greedy`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnx_lobs.arrays import FloatArray, IntArray
from onnx_lobs.solvers.channels.reader import ChannelReader

MOST_SWAPS = 12  # each takes two factors of every reader
GAIN = 1e-4  # of the error: less is not worth another look


def swap_channels(
    readers: Sequence[ChannelReader], gone: IntArray, n: int, most: int = MOST_SWAPS
) -> IntArray:
    """Return as many channels as are `gone`, whose error is no larger.

    Parameters
    ----------
    readers
        The layers that read the channels. Not modified.
    gone
        Channels that go; not modified.
    n
        Channels in all.
    most
        Swaps at the most.

    Notes
    -----
    Cost of a swap: p³ and p d² flops for a reader of d columns of which p are gone.
    """
    chosen = np.asarray(gone, np.int64)
    if not 0 < chosen.size < n or not readers:
        return chosen
    error = channel_error(readers, chosen)
    for _ in range(most):
        others = np.setdiff1d(np.arange(n), chosen)
        # one more goes, the cheapest; then the one that helps most stays after all
        more = int(others[np.argmin(_costs(readers, chosen, others))])
        wider = np.append(chosen, more)
        back = int(np.argmax(_gains(readers, wider)))
        if wider[back] == more:
            break
        swapped = np.delete(wider, back)
        found = channel_error(readers, swapped)
        if found > (1 - GAIN) * error:
            break
        chosen, error = swapped, found
    return chosen


def channel_error(readers: Sequence[ChannelReader], gone: IntArray) -> float:
    """Return the sum of the readers' relative errors without some channels, all else refitted."""
    total = 0.0
    for reader in readers:
        at, _, outer = _without(reader, gone)
        if at.size:
            total += reader.scale * float(np.vdot(outer, reader.weight[:, at]))
    return total


def _without(reader: ChannelReader, gone: IntArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return the columns P of channels that are gone, M and U."""
    at = np.flatnonzero(np.isin(reader.channels, gone))
    inner = np.asarray(np.linalg.inv(reader.inverse[np.ix_(at, at)]), np.float64)
    return np.asarray(at, np.int64), inner, np.asarray(reader.weight[:, at] @ inner)


def _costs(readers: Sequence[ChannelReader], gone: IntArray, others: IntArray) -> FloatArray:
    """Return what it costs to let each of some `others` go too."""
    costs = np.zeros(others.size)
    for reader in readers:
        at, inner, outer = _without(reader, gone)
        weight = reader.weight - outer @ reader.inverse[at]
        inverse = reader.inverse - reader.inverse[:, at] @ inner @ reader.inverse[at]
        costs += reader.scale * _block_losses(weight, inverse, reader.channels, others)
    return costs


def _gains(readers: Sequence[ChannelReader], gone: IntArray) -> FloatArray:
    """Return what is gained where each of the channels that are gone stays after all."""
    gains = np.zeros(gone.size)
    for reader in readers:
        at, inner, outer = _without(reader, gone)
        gains += reader.scale * _block_losses(outer, inner, reader.channels[at], gone)
    return gains


def _block_losses(
    weight: FloatArray, matrix: FloatArray, owners: IntArray, channels: IntArray
) -> FloatArray:
    """Return ``tr(weight_c (matrix_cc)⁻¹ weight_cᵀ)`` of each channel."""
    found = np.zeros(channels.size)
    for place, channel in enumerate(channels.tolist()):
        at = np.flatnonzero(owners == channel)
        if at.size:
            part = weight[:, at]
            found[place] = np.trace(np.linalg.solve(matrix[np.ix_(at, at)], part.T @ part))
    return found
