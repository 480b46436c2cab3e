"""Removes the channel that costs least, one after the other, from all layers that read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import FloatArray, IntArray
from onnx_lobs.solvers.channels.reader import ChannelReader, ReaderState


@dataclass(frozen=True, eq=False)
class ChannelCurve:
    """The order in which channels go, and what is lost by then.

    Parameters
    ----------
    order
        (n,) all channels, the first to go first.
    loss
        (n + 1,) the sum of the relative errors of all readers, all their other weights refitted,
        when so many channels are gone. Starts at 0 and does not descend.
    """

    order: IntArray
    loss: FloatArray


def eliminate_channels(readers: Sequence[ChannelReader], n: int) -> ChannelCurve:
    """Return the order of exact greedy elimination over all readers together.

    Parameters
    ----------
    readers
        The layers that read the channels. Not modified. None: all channels cost nothing.
    n
        Channels in all.

    Notes
    -----
    Each step costs one rank-k downdate of every reader's inverse, k its columns of a channel:
    about d³ flops in all for a reader of d columns, and rows d².
    """
    states = [ReaderState(reader, n) for reader in readers]
    left, order, loss = np.ones(n, bool), [], [0.0]
    for _ in range(n):
        costs = sum((state.losses() for state in states), np.zeros(n))
        costs[~left] = np.inf
        chosen = int(np.argmin(costs))
        for state in states:
            state.remove(chosen)
        left[chosen] = False
        order.append(chosen)
        loss.append(loss[-1] + max(float(costs[chosen]), 0.0))
    return ChannelCurve(np.asarray(order, np.int64), np.asarray(loss))


def order_curve(readers: Sequence[ChannelReader], order: IntArray) -> ChannelCurve:
    """Return the curve of a given order, for the same readers: what another choice costs."""
    states = [ReaderState(reader, order.size) for reader in readers]
    loss = [0.0]
    for chosen in order.tolist():
        cost = sum(float(state.losses()[chosen]) for state in states)
        for state in states:
            state.remove(chosen)
        loss.append(loss[-1] + max(cost, 0.0))
    return ChannelCurve(order, np.asarray(loss))
