"""Packs a weight as the values that are not zero, and the gaps between them, a byte each.

A gap of more than a byte holds is bridged by zeros that are stored. Unpacked: the running sum of
the gaps says where ScatterElements puts the values into zeros. From operator set 11 on.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from onnx_lobs.arrays import Array, IntArray
from onnx_lobs.storage.stored_weights import Restoring
from onnx_lobs.storage.unpacking import SharedConstants, Unpacking, as_bits, to_int32

WIDEST = 255  # gap that a byte holds


def bridged(positions: IntArray) -> IntArray:
    """Return ascending positions with others put in between so that no step is above WIDEST.

    The first counts as a step from 0. Of none, it is position 0.

    Examples
    --------
    >>> bridged(np.array([3, 600])).tolist()
    [3, 258, 513, 600]
    """
    if not positions.size:
        return np.zeros(1, np.int64)
    before = np.concatenate([[0], positions[:-1]])
    more = np.maximum(positions - before - 1, 0) // WIDEST  # bridges in front of each
    owner = np.repeat(np.arange(positions.size), more + 1)
    rank = np.arange(owner.size) - (np.cumsum(more + 1) - more - 1)[owner]
    bridge = before[owner] + WIDEST * (rank + 1)
    return np.where(rank == more[owner], positions[owner], bridge)


def pack_gap8(tensor: TensorProto, array: Array, shared: SharedConstants) -> Restoring:
    """Return what restores a tensor from gaps.

    Parameters, guarantee as of :func:`~onnx_lobs.storage.bitmask.pack_bitmask`.

    Notes
    -----
    Takes a byte and a value for each that is not zero, and for each bridge. onnxruntime needs some
    8 bytes for each of these, and the weight twice, while it unpacks.
    """
    unpacking = Unpacking(tensor, shared)
    positions = bridged(np.flatnonzero(as_bits(array)))
    gaps = np.diff(positions, prepend=0).astype(np.uint8)
    values = unpacking.values(array.reshape(-1)[positions])
    # where each value goes
    steps = to_int32(unpacking, unpacking.constant("gaps", gaps))
    index = unpacking.node("CumSum", [steps, shared.axis()])
    # zeros in which the values are put
    size = unpacking.constant("size", np.array([array.size], np.int64))
    zero = helper.make_tensor("", tensor.data_type, [1], bytes(array.itemsize), raw=True)
    zeros = unpacking.node("ConstantOfShape", [size], value=zero)
    return unpacking.finish(unpacking.node("ScatterElements", [zeros, index, values], axis=0))


def gap8_size(n: float, kept: float, itemsize: float) -> float:
    """Return the bytes of `n` elements of which some are kept, evenly spread, without nodes.

    With a share q of zeros, a gap exceeds k bytes in q^(255 k) of all cases.
    """
    if n <= 0 or kept <= 0:
        return 1 + itemsize
    long = (1 - min(kept / n, 1.0)) ** WIDEST
    bridges = min(kept * long / max(1 - long, 1e-12), n / WIDEST)
    return (kept + bridges) * (1 + itemsize)
