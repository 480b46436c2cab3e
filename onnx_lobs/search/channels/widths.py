"""Makes narrower networks to time: every group of channels at a share of its width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from onnx_lobs.arrays import IntArray
from onnx_lobs.layers.channels.coupling import Coupling
from onnx_lobs.layers.channels.removal import kept_indices, remove_channels

SHARES = (0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125)  # of the channels of each group
COARSE, FINE = 16, 8  # channels that kernels may work on at once
NARROW = 32  # groups with fewer channels have none to spare for that


def kept_at(coupling: Coupling, share: float, more: int = 0) -> IntArray:
    """Return (groups,) channels that each group keeps: a share of its own, in steps of COARSE.

    Groups of fewer than NARROW channels have steps of 1. `more` is added to the others.
    """
    kept = []
    for group in coupling.groups:
        n = len(group.channels)
        step = COARSE if n >= NARROW else 1
        most = n if n < NARROW else n - more
        kept.append(min(max(step, round(share * n / step) * step), most) + n - most)
    return np.asarray(kept, np.int64)


def narrower(coupling: Coupling, kept: Sequence[int] | IntArray) -> onnx.ModelProto:
    """Return the network with so many channels of each group, whichever they are."""
    return remove_channels(coupling, _gone(coupling, kept))


def narrower_shapes(
    coupling: Coupling, kept: Sequence[int] | IntArray
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all values of that network."""
    stays = kept_indices(coupling, _gone(coupling, kept))
    shapes = {}
    for name, shape in coupling.observed.shapes.items():
        sizes = [len(stays.get((name, axis), range(size))) for axis, size in enumerate(shape)]
        shapes[name] = tuple(sizes)
    return shapes


def _gone(coupling: Coupling, kept: Sequence[int] | IntArray) -> set[int]:
    gone: set[int] = set()
    for group, count in zip(coupling.groups, kept, strict=True):
        gone |= set(group.channels[int(count) :])
    return gone
