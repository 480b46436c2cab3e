"""Couples what elementwise operators couple: equal places of broadcast tensors."""

from __future__ import annotations

from onnx_lobs.layers.channels.node_view import NodeView

ELEMENTWISE = (
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Ceil", "Celu",
    "Clip", "Cos", "Cosh", "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu",
    "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN",
    "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg",
    "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign",
    "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh",
    "ThresholdedRelu", "Where", "Xor",
)  # fmt: skip


def join_elementwise(view: NodeView) -> None:
    """Join every axis of the inputs with the output's, counted from the end.

    An input of size 1 is the same for all, so that it goes with none.
    """
    for output in filter(None, view.node.output):
        for name in filter(None, view.node.input):
            join_broadcast(view, name, output)


def join_broadcast(view: NodeView, name: str, output: str, leave: int = 0) -> None:
    """Join the axes of a tensor that is broadcast to another, but the last `leave` of both."""
    shape, result = view.shape(name), view.shape(output)
    for axis in range(-min(len(shape), len(result)), -leave):
        if shape[axis] == result[axis]:
            view.join_axes(name, axis, output, axis)
