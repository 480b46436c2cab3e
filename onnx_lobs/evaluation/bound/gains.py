"""Says how far each operator can stretch a difference between its inputs, in the Euclidean norm."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.evaluation.bound.norms import conv_norm, matrix_norm, window_overlap

FLOATS = (1, 10, 11, 16)  # of TensorProto: float32, float16, float64, bfloat16


@dataclass(frozen=True)
class BoundSite:
    """The input of a node that a difference reaches.

    ``get`` is that of the node's attributes; ``fixed`` holds the inputs that are constants, in
    float64, by position, ``factor`` the other one of the first two; ``repeats`` is, for operators
    in SIZED, output elements per input element.
    """

    op: str
    get: Callable[[str, Any], Any]
    position: int
    fixed: Mapping[int, Array]
    factor: Array | None
    repeats: float


def _convolve(site: BoundSite) -> float | None:
    if site.position or site.factor is None:
        return None
    kernel = site.factor.reshape(site.get("group", 1), -1, *site.factor.shape[1:])
    ones = (1,) * (site.factor.ndim - 2)
    return conv_norm(kernel, site.get("strides", ones), site.get("dilations", ones))


def _gemm(site: BoundSite) -> float | None:
    if site.position == 2:
        return abs(float(site.get("beta", 1.0))) * math.sqrt(site.repeats)
    return None if site.factor is None else abs(site.get("alpha", 1.0)) * matrix_norm(site.factor)


def _matmul(site: BoundSite) -> float | None:
    if site.factor is None:
        return None
    # one matrix may meet every matrix of a stack
    return matrix_norm(np.atleast_2d(site.factor)) * math.sqrt(math.prod(site.factor.shape[:-2]))


def _scale(site: BoundSite) -> float | None:
    if site.factor is None or (site.position and site.op == "Div"):
        return None
    with np.errstate(divide="ignore"):
        size = np.abs(1 / site.factor if site.op == "Div" else site.factor)
    largest = float(size.max(initial=0.0))
    return largest * math.sqrt(site.repeats) if math.isfinite(largest) else None


def _normalise(site: BoundSite) -> float | None:
    if site.position or site.get("training_mode", 0) or not {1, 4} <= site.fixed.keys():
        return None
    deviation = np.sqrt(site.fixed[4] + site.get("epsilon", 1e-5))
    return float(np.abs(site.fixed[1] / deviation).max(initial=0.0))


def _pool(site: BoundSite) -> float:
    kernel = site.get("kernel_shape", ())
    ones = (1,) * len(kernel)
    overlap = window_overlap(kernel, site.get("strides", ones), site.get("dilations", ones))
    padded = any(site.get("pads", ())) or site.get("ceil_mode", 0)
    padded = padded or site.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    # a window at the border may hold a single element, with weight 1
    is_mean = site.op == "AveragePool" and not padded
    return math.sqrt(overlap / math.prod(kernel) if is_mean else overlap)


def _slope(largest: float, alpha: float = 0.0) -> Callable[[BoundSite], float | None]:
    """Return the rule of a function with a largest slope, or the attribute's if that is larger."""
    return lambda x: None if x.position else max(largest, abs(float(x.get("alpha", alpha))))


RULES: dict[str, Callable[[BoundSite], float | None]] = {
    **dict.fromkeys(
        ("Abs", "Atan", "Clip", "Cos", "Identity", "Neg", "Relu", "Sin", "Softplus", "Softsign",
         "Tanh", "DepthToSpace", "Dropout", "Flatten", "GlobalMaxPool", "ReduceMax", "Reshape",
         "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze"),
        _slope(1.0),
    ),
    **dict.fromkeys(("Add", "Sub", "Sum", "GlobalAveragePool", "ReduceMean"),
                    lambda site: math.sqrt(site.repeats)),
    **dict.fromkeys(("Conv", "ConvTranspose"), _convolve),
    **dict.fromkeys(("Mul", "Div"), _scale),
    **dict.fromkeys(("AveragePool", "MaxPool"), _pool),
    "BatchNormalization": _normalise,
    "Cast": lambda site: 1.0 if site.get("to", 0) in FLOATS else None,
    "Concat": lambda site: 1.0,
    "Elu": _slope(1.0, alpha=1.0),
    "Erf": _slope(2 / math.sqrt(math.pi)),
    "Gelu": _slope(1.1290),
    "Gemm": _gemm,
    "HardSigmoid": _slope(0.0, alpha=0.2),
    "HardSwish": _slope(1.5),
    "LeakyRelu": _slope(1.0, alpha=0.01),
    "MatMul": _matmul,
    "Mish": _slope(1.0886),
    "Pad": lambda x: None if x.position or x.get("mode", "constant") != "constant" else 1.0,
    "Sigmoid": _slope(0.25),
    "Softmax": _slope(0.5),
}  # fmt: skip
"""from an input that differs to the output's gain, the largest ratio of differences, if known"""
SIZED = ("Add", "Sub", "Sum", "GlobalAveragePool", "ReduceMean", "Mul", "Div", "Gemm")
"""operators whose gains depend on shapes"""
