"""Appends losses to a graph, and the gradients at the values that they compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from onnx_lobs.graph.writer import Writer


@dataclass(frozen=True)
class AppendedLoss:
    """A loss in a graph.

    Parameters
    ----------
    value
        What is compared.
    target
        Input of the graph that takes what it is compared with, in the value's shape.
    loss
        Holds the loss, a number, the mean over samples.
    gradient
        Holds the gradient of the loss at the value.
    """

    value: str
    target: str
    loss: str
    gradient: str


def cross_entropy(
    writer: Writer, value: str, shape: tuple[int, ...], dtype: np.dtype[Any], axis: int = -1
) -> AppendedLoss:
    """Append the cross entropy of scores with target shares, which sum to 1 along `axis`.

    Of class labels the shares are one 1 and zeros. The gradient is softmax(z) - t, over the number
    of rows.
    """
    target = _target(writer, shape, dtype)
    rows = int(np.prod(shape)) // shape[axis]
    axis %= len(shape)
    # the largest score is taken off: exponentials stay finite
    low = writer.node("Sub", [value, writer.reduce("ReduceMax", value, axis)])
    powers = writer.node("Exp", [low])
    total = writer.reduce("ReduceSum", powers, axis)
    logs = writer.node("Sub", [low, writer.node("Log", [total])])
    part = writer.constant(np.array(1 / rows, dtype))
    summed = writer.reduce("ReduceSum", writer.node("Mul", [logs, target]))
    loss = writer.node("Neg", [writer.node("Mul", [summed, part])])
    shares = writer.node("Div", [powers, total])
    gradient = writer.node("Mul", [writer.node("Sub", [shares, target]), part])
    return AppendedLoss(value, target, loss, gradient)


def squared_distance(
    writer: Writer,
    value: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axis: int | None = None,
) -> AppendedLoss:
    """Append half the squared distance to a target, summed over values, mean over samples.

    With an `axis` both are taken less their mean along it, which a softmax does not see.
    """
    target = _target(writer, shape, dtype)
    away = writer.node("Sub", [value, target])
    if axis is not None:
        away = writer.node("Sub", [away, writer.reduce("ReduceMean", away, axis % len(shape))])
    part = writer.constant(np.array(1 / shape[0], dtype))
    squares = writer.reduce("ReduceSum", writer.node("Mul", [away, away]))
    half = writer.constant(np.array(0.5 / shape[0], dtype))
    loss = writer.node("Mul", [squares, half])
    return AppendedLoss(value, target, loss, writer.node("Mul", [away, part]))


def _target(writer: Writer, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    (name,) = writer.names(1)
    kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    writer.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, list(shape)))
    return name


LOSSES: Mapping[str, Callable[..., AppendedLoss]] = {
    "cross-entropy": cross_entropy,
    "distance": squared_distance,
}
