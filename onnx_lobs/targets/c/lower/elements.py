"""Lowers functions of single numbers, and sums and products of two values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx
from scipy.special import erf

from onnx_lobs.arrays import Array
from onnx_lobs.errors import DataError
from onnx_lobs.targets.c.grid import factors_of
from onnx_lobs.targets.c.lower.context import (
    Lowering,
    as_float,
    node_attributes,
    refusal,
    scalar,
)
from onnx_lobs.targets.c.lower.fuse import ElementFunction, evaluate_function
from onnx_lobs.targets.c.steps.binary import SUM_SHIFT, Product, ScaleShift, Sum
from onnx_lobs.targets.c.steps.lookup import FloatFunction, Lookup
from onnx_lobs.targets.c.text import float_text

_MOST_WEIGHT = 2**62 / 255  # of a sum: its product with a byte stays within 64 bits
_MOST_CONSTANT = 2.0**31 - 1


def lower_lookup(made: Lowering, function: ElementFunction) -> None:
    """Append the table of a function of one number."""
    x, y = made.value(function.source), made.value(function.output)
    assert x.grid is not None
    assert y.grid is not None
    raw = np.arange(256, dtype=np.uint8).view(x.grid.dtype)
    table = y.grid.quantise(evaluate_function(made.network, function, x.grid.dequantise(raw)))
    made.add(Lookup((x,), y, table))


def lower_sum(made: Lowering, node: onnx.NodeProto) -> None:
    """Append the sum or the difference of two values, or of a value and constants."""
    sign = -1.0 if node.op_type == "Sub" else 1.0
    fixed = [made.is_constant(name) for name in node.input]
    if len(node.input) != 2:
        raise refusal(node, f"{len(node.input)} terms; two are written")
    if fixed[1]:
        offset = sign * as_float(made.network.constants[node.input[1]])
        _affine(made, node, 0, np.array(1.0), offset)
    elif fixed[0]:
        _affine(made, node, 1, np.array(sign), as_float(made.network.constants[node.input[0]]))
    else:
        x, z, y = (made.value(name) for name in (*node.input, node.output[0]))
        weights = (1.0, sign)
        if x.grid is not None and z.grid is not None and y.grid is not None:
            real = np.array([x.grid.scale, sign * z.grid.scale]) / y.grid.scale * 2.0**SUM_SHIFT
            a, b = (int(w) for w in _whole(node, real, _MOST_WEIGHT))
            weights = (a, b)
        made.add(Sum((x, z), y, weights))


def lower_product(made: Lowering, node: onnx.NodeProto) -> None:
    """Append the product of two values, or of a value and constants; or a division by constants."""
    fixed = [made.is_constant(name) for name in node.input]
    if node.op_type == "Div" and not fixed[1]:
        raise refusal(node, "it divides by a computed value")
    if any(fixed):
        at = fixed.index(True)
        constant = as_float(made.network.constants[node.input[at]])
        scale = 1.0 / constant if node.op_type == "Div" else constant
        _affine(made, node, 1 - at, scale, np.array(0.0))
        return
    x, z, y = (made.value(name) for name in (*node.input, node.output[0]))
    factors = None
    if x.grid is not None and z.grid is not None and y.grid is not None:
        real = x.grid.scale * z.grid.scale / y.grid.scale
        factors = factors_of(node.name or y.name, np.array([real]))
    made.add(Product((x, z), y, factors))


def _affine(made: Lowering, node: onnx.NodeProto, at: int, scale: Array, shift: Array) -> None:
    x, y = made.value(node.input[at]), made.value(node.output[0])
    if x.grid is None or y.grid is None:
        made.add(ScaleShift((x,), y, scale.astype(np.float32), shift.astype(np.float32)))
        return
    a = _whole(node, scale * (x.grid.scale / y.grid.scale) * 2.0**SUM_SHIFT, _MOST_CONSTANT)
    b = _whole(node, shift / y.grid.scale * 2.0**SUM_SHIFT, _MOST_CONSTANT)
    made.add(ScaleShift((x,), y, a.astype(np.int32), b.astype(np.int32)))


def _whole(node: onnx.NodeProto, values: Array, most: float) -> Array:
    """Return the nearest whole numbers.

    Raises
    ------
    DataError
        One is too large: an input's range is far beyond the output's.
    """
    reach = float(np.abs(values).max(initial=0.0))
    if not reach <= most:
        raise DataError(
            f"{node.op_type} {node.name!r} scales a step of its input to "
            f"{reach / 2**SUM_SHIFT:,.0f} steps of its output; check that the "
            "calibration data are like real ones"
        )
    return np.floor(values + 0.5).astype(np.int64)


def lower_function(made: Lowering, node: onnx.NodeProto) -> None:
    """Append a function of one number in float32."""
    alpha = node_attributes(node, {}).get("alpha")
    op = node.op_type
    if op == "Clip":
        lowest, highest = _ends(made, node)
        text = f"v < {float_text(lowest)} ? {float_text(lowest)} : "
        text += f"v > {float_text(highest)} ? {float_text(highest)} : v"
        _function(made, node, text, lambda v: np.clip(v, lowest, highest))
        return
    if op in ("LeakyRelu", "Elu"):
        a = {"LeakyRelu": 0.01, "Elu": 1.0}[op] if alpha is None else alpha
        if op == "LeakyRelu":
            text = f"v < 0 ? v * {float_text(a)} : v"
            _function(made, node, text, lambda v: np.where(v < 0, v * np.float32(a), v))
        else:
            text = f"v < 0 ? {float_text(a)} * (expf(v) - 1) : v"
            _function(made, node, text, lambda v: np.where(v < 0, a * np.expm1(v), v))
        return
    if op in ("HardSigmoid", "HardSwish"):
        given = node_attributes(node, {"alpha": 0.2, "beta": 0.5})
        a, b = (1 / 6, 0.5) if op == "HardSwish" else (given["alpha"], given["beta"])
        lead = "v * " if op == "HardSwish" else ""
        inner = f"finish_f32(v * {float_text(a)} + {float_text(b)}, 0.0f, 1.0f)"
        _function(
            made,
            node,
            lead + inner,
            lambda v: (v if op == "HardSwish" else 1) * np.clip(v * np.float32(a) + b, 0, 1),
        )
        return
    if op not in _FUNCTIONS:
        raise refusal(node, "there is no float32 code for it; --values int8 takes any function")
    _function(made, node, *_FUNCTIONS[op])


def _function(
    made: Lowering, node: onnx.NodeProto, text: str, reference: Callable[[Array], Array]
) -> None:
    x, y = made.value(node.input[0]), made.value(node.output[0])
    made.add(FloatFunction((x,), y, text, reference))


def _ends(made: Lowering, node: onnx.NodeProto) -> tuple[float, float]:
    given = node_attributes(node, {"min": -math.inf, "max": math.inf})
    ends = [made.optional(node, i, "a limit") for i in (1, 2)]
    lowest = given["min"] if ends[0] is None else scalar(ends[0])
    return float(lowest), float(given["max"] if ends[1] is None else scalar(ends[1]))


_FUNCTIONS: Mapping[str, tuple[str, Callable[[Array], Array]]] = {
    "Relu": ("v > 0 ? v : 0", lambda v: np.maximum(v, 0)),
    "Sigmoid": ("1 / (1 + expf(-v))", lambda v: 1 / (1 + np.exp(-v))),
    "Tanh": ("tanhf(v)", np.tanh),
    "Exp": ("expf(v)", np.exp),
    "Sqrt": ("sqrtf(v)", np.sqrt),
    "Neg": ("-v", np.negative),
    "Abs": ("fabsf(v)", np.abs),
    "Log": ("logf(v)", np.log),
    "Reciprocal": ("1 / v", np.reciprocal),
    "Erf": ("erff(v)", erf),
    "Softplus": ("log1pf(expf(-fabsf(v))) + (v > 0 ? v : 0)", lambda v: np.logaddexp(v, 0)),
    "Softsign": ("v / (1 + fabsf(v))", lambda v: v / (1 + np.abs(v))),
    "Mish": (
        "v * tanhf(log1pf(expf(-fabsf(v))) + (v > 0 ? v : 0))",
        lambda v: v * np.tanh(np.logaddexp(v, 0)),
    ),
}
