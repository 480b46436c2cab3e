"""Brings a value into the form that the nodes behind it give a network's output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.graph.model import attributes

RESHAPES = "Reshape", "Flatten", "Squeeze", "Unsqueeze"
FLOATS = (
    onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
)  # fmt: skip

Turn = tuple[int, ...] | None  # a permutation of axes; None: all of them in reverse


@dataclass(frozen=True)
class OutputForm:
    """What nodes do to the form of a value: turns of its axes, a regrouping, and turns again."""

    before: tuple[Turn, ...] = ()
    is_regrouped: bool = False
    after: tuple[Turn, ...] = ()

    def applied(self, value: Array, shape: Sequence[int]) -> Array:
        """Return a value in this form; `shape` is that of the output."""
        for turn in self.before:
            value = value.transpose(turn)
        if self.is_regrouped:
            inner = tuple(shape)
            for turn in reversed(self.after):
                inner = _turned_back(inner, turn)
            value = value.reshape(inner)
        for turn in self.after:
            value = value.transpose(turn)
        return value


def form_behind(nodes: Sequence[onnx.NodeProto]) -> OutputForm | None:
    """Return what nodes that keep values do to their form, in the order in which they run.

    None where two regroup with a turn in between: the shape in between is not known.
    """
    before: list[Turn] = []
    after: list[Turn] = []
    is_regrouped = False
    for node in nodes:
        if node.op_type == "Transpose":
            (after if is_regrouped else before).append(_turn(node))
        elif node.op_type in RESHAPES:
            if after:
                return None
            is_regrouped = True
    return OutputForm(tuple(before), is_regrouped, tuple(after))


def keeps_values(node: onnx.NodeProto) -> bool:
    """Whether a node only changes the form of its first input, or its floating type."""
    if node.op_type == "Cast":
        return attributes(node).get("to") in FLOATS
    return node.op_type in (*RESHAPES, "Identity", "Transpose")


def _turn(node: onnx.NodeProto) -> Turn:
    perm = attributes(node).get("perm")
    return tuple(map(int, perm)) if isinstance(perm, list) else None


def _turned_back(shape: tuple[int, ...], turn: Turn) -> tuple[int, ...]:
    """Return the shape that a turn makes `shape` of."""
    if turn is None:
        return shape[::-1]
    sizes = dict(zip(turn, shape, strict=True))
    return tuple(sizes[axis] for axis in range(len(shape)))
