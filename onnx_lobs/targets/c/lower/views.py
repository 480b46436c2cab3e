"""Lowers what leaves every element as it is: Reshape and its kin, Dropout, Cast."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from onnx_lobs.targets.c.lower.context import Lowering, node_attributes, refusal

_REAL = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
_WIDE = (TensorProto.INT32, TensorProto.INT64)  # hold what an index or a byte may be
# what moves elements, or takes the largest
MOVING = frozenset(
    [
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Identity",
        "Cast",
        "Dropout",
        "Transpose",
        "Slice",
        "Split",
        "Gather",
        "Expand",
        "DepthToSpace",
        "SpaceToDepth",
        "Pad",
        "Concat",
        "MaxPool",
        "GlobalMaxPool",
    ]
)


def check_element_type(made: Lowering, node: onnx.NodeProto) -> None:
    """Refuse a node that computes whole numbers, which C code would hold as floats.

    What only moves elements or takes the largest is right in any type.
    """
    kind = made.network.element_types.get(node.output[0], TensorProto.FLOAT)
    if kind not in _REAL and node.op_type not in MOVING:
        name = TensorProto.DataType.Name(kind).lower()
        raise refusal(node, f"it computes {name}; only floats are written")


def lower_view(made: Lowering, node: onnx.NodeProto) -> None:
    """Let the output be the input in another shape."""
    made.views[node.output[0]] = node.input[0]


def lower_dropout(made: Lowering, node: onnx.NodeProto) -> None:
    """Let the output be the input: nothing drops out outside training."""
    training = made.optional(node, 2, "training_mode")
    if training is not None and np.any(training):
        raise refusal(node, "it is in training mode")
    if len(node.output) > 1 and made.is_read(node.output[1]):
        raise refusal(node, "its mask is read")
    lower_view(made, node)


def lower_cast(made: Lowering, node: onnx.NodeProto) -> None:
    """Let the output be the input, where a number stays the same in the other type."""
    source = made.network.element_types.get(node.input[0], TensorProto.FLOAT)
    target = int(node_attributes(node, {})["to"])
    if target not in _REAL and (source in _REAL or not _holds(target, source)):
        names = [TensorProto.DataType.Name(kind).lower() for kind in (source, target)]
        raise refusal(node, f"it rounds or cuts {names[0]} to {names[1]}")
    lower_view(made, node)


def _holds(target: int, source: int) -> bool:
    """Whether one type of whole numbers holds those of another that occur."""
    return target == source or (target in _WIDE and source != TensorProto.UINT64)
