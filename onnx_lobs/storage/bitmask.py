"""Packs a weight as one bit per element and the values that are not zero.

Unpacked: the bits of each byte from a table, their running sum as positions in the values, which
begin with a zero. Operators: Gather, Cast, Reshape, Slice, CumSum, Mul, from operator set 11 on.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from onnx_lobs.arrays import Array
from onnx_lobs.storage.stored_weights import Restoring
from onnx_lobs.storage.unpacking import BYTE_BITS, SharedConstants, Unpacking, as_bits, to_int32


def pack_bitmask(tensor: TensorProto, array: Array, shared: SharedConstants) -> Restoring:
    """Return what restores a tensor from a bitmask.

    Parameters
    ----------
    tensor
        Gives name, element type and dims. Not modified.
    array
        Its values. Not modified.
    shared
        Constants of all weights; those that this one needs are added.

    Returns
    -------
    Restoring
        Values come back bit for bit, -0.0 included.

    Notes
    -----
    Takes ``size / 8`` bytes and the values, one more than are not zero. onnxruntime needs some 13
    bytes for each element while it unpacks.
    """
    unpacking = Unpacking(tensor, shared)
    is_kept = as_bits(array) != 0
    # the values, in front of them the zero that all others get
    kept = array.reshape(-1)[is_kept]
    values = unpacking.values(np.concatenate([np.zeros(1, array.dtype), kept]))
    # one bit for each element
    bits = unpacking.constant("bits", np.packbits(is_kept))
    rows = unpacking.node("Gather", [shared.bit_table(), to_int32(unpacking, bits)])
    flat = unpacking.first_of(rows, is_kept.size, BYTE_BITS)
    # the position of each element among the values
    ones = to_int32(unpacking, flat)
    count = unpacking.node("CumSum", [ones, shared.axis()])
    position = unpacking.node("Mul", [count, ones])
    return unpacking.finish(unpacking.node("Gather", [values, position]))


def bitmask_size(n: float, kept: float, itemsize: float) -> float:
    """Return the bytes of `n` elements of which some are kept, without names and nodes."""
    return n / BYTE_BITS + (kept + 1) * itemsize
