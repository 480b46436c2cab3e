"""Says where a node's attributes and the shape of its weight do not go together.

Such a model is not valid, and yet passes onnx's checker, which does not look at shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import onnx

from onnx_lobs.graph.model import attributes
from onnx_lobs.layers.refusal import Refusal, RefusalKind

_LEAST = {"strides": 1, "dilations": 1, "output_padding": 0}  # one number for each spatial axis


def conv_misfit(node: onnx.NodeProto, shape: tuple[int, ...]) -> Refusal | None:
    """Return why no Conv or ConvTranspose has such a weight, or None.

    Parameters
    ----------
    shape
        Of the weight: (outputs, inputs / groups, *kernel), or for ConvTranspose (inputs,
        outputs / groups, *kernel).
    """
    values = attributes(node)
    group = cast(int, values.get("group", 1))
    kernel = shape[2:]
    if not kernel:
        return _refusal(shape, "has no spatial axis")
    if group < 1 or shape[0] % group:
        return _refusal(shape, f"cannot be parted into {group} groups")
    if _integers(values, "kernel_shape", kernel) != kernel:
        return _refusal(shape, f"has another kernel_shape than {values['kernel_shape']}")
    for name, least in _LEAST.items():
        numbers = _integers(values, name, (least,) * len(kernel))
        if len(numbers) != len(kernel) or min(numbers) < least:
            return _refusal(shape, f"does not go with {name} {list(numbers)}")
    n = len(kernel)
    for name, lengths in {"pads": (0, 2 * n), "output_shape": (0, n, n + 2)}.items():
        numbers = _integers(values, name, ())
        if len(numbers) not in lengths:
            return _refusal(shape, f"does not go with {name} {list(numbers)}")
    return None


def matrix_misfit(shape: tuple[int, ...], ranks: Sequence[int]) -> Refusal | None:
    """Return why a Gemm or MatMul cannot have a weight of that shape, or None."""
    return None if len(shape) in ranks else _refusal(shape, "is no matrix")


def recurrent_misfit(shape: tuple[int, ...], gates: int) -> Refusal | None:
    """Return why no LSTM, GRU or RNN has such a weight, of so many gates, or None."""
    if len(shape) != 3:
        return _refusal(shape, "has no axes for directions, gates and what is read")
    if shape[1] % gates:
        return _refusal(shape, f"cannot be parted into {gates} gates")
    return None


def _integers(values: Mapping[str, object], name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(cast("Sequence[int]", values.get(name, default)))


def _refusal(shape: tuple[int, ...], trouble: str) -> Refusal:
    return Refusal(RefusalKind.MISFIT, f"not valid: its weight of shape {list(shape)} {trouble}")
