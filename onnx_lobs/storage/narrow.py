"""Packs small whole numbers as seven bits each: eight numbers of -64 to 63 in seven bytes.

Seven of the eight stand in the low bits of a byte; the eighth is spread over the seven high bits.
Unpacked: Cast, Mul, Floor, Sub, MatMul, Concat, Reshape, Slice, in float32, which holds all these
numbers exactly. From operator set 11 on.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from onnx_lobs.arrays import Array
from onnx_lobs.storage.stored_weights import Restoring
from onnx_lobs.storage.unpacking import SharedConstants, Unpacking

NARROW_BITS = 7
HIGH = 1 << NARROW_BITS  # the value of a byte's highest bit
LEAST, MOST = -HIGH // 2, HIGH // 2 - 1  # what seven bits hold
TOGETHER = 8  # numbers in NARROW_BITS bytes


def pack_narrow(tensor: TensorProto, array: Array, shared: SharedConstants) -> Restoring | None:
    """Return what restores int8 numbers from seven bits each, or None where some take eight.

    Parameters as of :func:`~onnx_lobs.storage.bitmask.pack_bitmask`.

    Notes
    -----
    Takes ``7 / 8`` bytes for each number, whatever they are. onnxruntime needs some 12 bytes for
    each while it unpacks.
    """
    is_int8 = tensor.data_type == TensorProto.INT8 and array.size > 0
    if not is_int8 or array.min() < LEAST or array.max() > MOST:
        return None
    unpacking = Unpacking(tensor, shared)
    # eight numbers of 0 to 127 in a row; the last row is filled up
    shifted = (array.reshape(-1).astype(np.int16) - LEAST).astype(np.uint8)
    rows = np.pad(shifted, (0, -shifted.size % TOGETHER)).reshape(-1, TOGETHER)
    spread = rows[:, -1:] >> np.arange(NARROW_BITS, dtype=np.uint8) & 1
    held = unpacking.constant("seven", rows[:, :-1] | spread << np.uint8(NARROW_BITS))
    # the high bits and the low ones
    wide = unpacking.node("Cast", [held], to=TensorProto.FLOAT)
    share = shared.get("share", np.array(1 / HIGH, np.float32))
    bits = unpacking.node("Floor", [unpacking.node("Mul", [wide, share])])
    high = shared.get("high", np.array(HIGH, np.float32))
    low = unpacking.node("Sub", [wide, unpacking.node("Mul", [bits, high])])
    # the eighth number of each row, from its bits
    places = shared.get("places", 2.0 ** np.arange(NARROW_BITS, dtype=np.float32)[:, None])
    eighth = unpacking.node("MatMul", [bits, places])
    every = unpacking.node("Concat", [low, eighth], axis=1)
    centre = shared.get("centre", np.array(-LEAST, np.float32))
    codes = unpacking.node("Cast", [unpacking.node("Sub", [every, centre])], to=TensorProto.INT8)
    return unpacking.finish(unpacking.first_of(codes, array.size, TOGETHER))
