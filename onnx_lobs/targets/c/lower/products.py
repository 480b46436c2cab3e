"""Lowers what multiplies by constant weights: Conv, ConvTranspose, Gemm, MatMul, normalisations."""

from __future__ import annotations

import numpy as np
import onnx

from onnx_lobs.arrays import Array, IntArray
from onnx_lobs.errors import ModelError
from onnx_lobs.targets.c.codes import encode
from onnx_lobs.targets.c.grid import SUM_LIMIT, factors_of, quantise_rows
from onnx_lobs.targets.c.lower.context import (
    Lowering,
    as_float,
    node_attributes,
    refusal,
    window_sizes,
)
from onnx_lobs.targets.c.lower.layout import permuted
from onnx_lobs.targets.c.program import Value
from onnx_lobs.targets.c.steps.convolution import Convolution
from onnx_lobs.targets.c.steps.dense import Dense
from onnx_lobs.targets.c.steps.finish import Finish
from onnx_lobs.targets.c.steps.window import Window

_MOST_BIAS = 2.0**28  # steps of the sums: a quarter of their limit
_BATCH = "only one sample at a time, or constants of two dimensions, are written"


def lower_conv(made: Lowering, node: onnx.NodeProto) -> None:
    """Append a convolution."""
    weight = as_float(made.constant(node, 1, "the weight"))
    bias = made.optional(node, 2, "the bias")
    x, y = made.shape(node.input[0]), made.shape(node.output[0])
    if x[0] != 1:
        raise refusal(node, _BATCH)
    sizes = window_sizes(node, weight.shape[2:], x[2:], y[2:])
    window = _window(x[2:], y[2:], weight.shape[2:], sizes).flat()
    groups = int(node_attributes(node, {"group": 1})["group"])
    rows = weight.reshape(len(weight), -1)
    made.add(_convolution(made, node, window, rows, bias, groups))


def lower_conv_transpose(made: Lowering, node: onnx.NodeProto) -> None:
    """Append a transposed convolution."""
    weight = as_float(made.constant(node, 1, "the weight"))
    bias = made.optional(node, 2, "the bias")
    x, y = made.shape(node.input[0]), made.shape(node.output[0])
    given = node_attributes(node, {"group": 1, "output_shape": None})
    if x[0] != 1 or given["output_shape"]:
        raise refusal(node, _BATCH if x[0] != 1 else "output_shape is not read")
    sizes = window_sizes(node, weight.shape[2:], x[2:], y[2:], is_transposed=True)
    window = _window(x[2:], y[2:], weight.shape[2:], sizes)
    groups = int(given["group"])
    # (groups, channels, rows, positions) -> (groups * rows, channels * positions)
    split = weight.reshape(groups, -1, weight.shape[1], window.positions)
    rows = split.transpose(0, 2, 1, 3).reshape(groups * weight.shape[1], -1)
    made.add(_convolution(made, node, window, rows, bias, groups, is_transposed=True))


def lower_gemm(made: Lowering, node: onnx.NodeProto) -> None:
    """Append a product with a matrix."""
    defaults = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
    given = node_attributes(node, defaults)
    if made.is_constant(node.input[0]):
        raise refusal(node, "its first input is constant")
    weight = as_float(made.constant(node, 1, "the weight"))
    rows = given["alpha"] * (weight if given["transB"] else weight.T)
    bias = made.optional(node, 2, "the bias")
    if bias is not None:
        bias = given["beta"] * as_float(bias)
    source = made.value(node.input[0])
    if given["transA"]:
        source = permuted(made, node, source, (1, 0))
    made.add(_dense(made, node, source, rows, bias))


def lower_matmul(made: Lowering, node: onnx.NodeProto) -> None:
    """Append a product with a matrix on the right, or on the left as a pointwise convolution."""
    left, right = node.input[:2]
    if made.is_constant(right):
        weight = as_float(made.constant(node, 1, "the weight"))
        if weight.ndim > 2:
            raise refusal(node, f"a constant of shape {weight.shape}; {_BATCH}")
        rows = weight.T if weight.ndim == 2 else weight[None]
        made.add(_dense(made, node, made.value(left), rows, None))
        return
    if not made.is_constant(left):
        raise refusal(node, "both factors are computed while the network runs")
    weight = as_float(made.constant(node, 0, "the weight"))
    x = made.shape(right)
    if weight.ndim > 2 or int(np.prod(x[:-2], dtype=np.int64)) != 1 or len(x) < 2:
        raise refusal(node, _BATCH)
    rows = weight if weight.ndim == 2 else weight[None]
    window = Window(1, x[-1], 1, x[-1])
    made.add(_convolution(made, node, window, rows, None, 1))


def lower_normalisation(made: Lowering, node: onnx.NodeProto) -> None:
    """Append a BatchNormalization that is in front of no convolution: one weight a channel."""
    scale, offset, mean, variance = (
        as_float(made.constant(node, i, "a parameter")) for i in range(1, 5)
    )
    scale = scale / np.sqrt(variance + node_attributes(node, {"epsilon": 1e-5})["epsilon"])
    x = made.shape(node.input[0])
    if x[0] != 1:
        raise refusal(node, _BATCH)
    plane = int(np.prod(x[2:], dtype=np.int64))
    window = Window(1, plane, 1, plane)
    shift = offset - scale * mean
    made.add(_convolution(made, node, window, scale[:, None], shift, len(scale)))


def _window(
    size_in: tuple[int, ...],
    size_out: tuple[int, ...],
    kernel: tuple[int, ...],
    sizes: dict[str, list[int]],
) -> Window:
    """Return a window of two dimensions; one dimension is a plane of one row."""
    pairs = [size_in, size_out, kernel, *(sizes[k] for k in ("strides", "dilations"))]
    lift = (1,) * (2 - len(size_in))
    flat = [size for pair in pairs for size in (*lift, *pair)]
    return Window(*flat, *(0,) * (2 - len(size_in)), *sizes["pads"])


def _convolution(
    made: Lowering,
    node: onnx.NodeProto,
    window: Window,
    rows: Array,
    bias: Array | None,
    groups: int,
    *,
    is_transposed: bool = False,
) -> Convolution:
    names = [n for n in node.input if n and not made.is_constant(n)]
    source, output = made.value(names[0]), made.value(node.output[0])
    stored, sums, finish = _quantised(made, node, source, output, rows, bias)
    code = encode(stored, made.optimise)
    return Convolution((source,), output, window, stored, sums, groups, finish, code, is_transposed)


def _dense(
    made: Lowering, node: onnx.NodeProto, source: Value, rows: Array, bias: Array | None
) -> Dense:
    output = made.value(node.output[0])
    if bias is not None and bias.size not in (1, len(rows)):
        raise refusal(node, f"a bias of shape {bias.shape}")
    stored, sums, finish = _quantised(made, node, source, output, rows, bias)
    return Dense((source,), output, stored, sums, finish, encode(stored, made.optimise))


def _quantised(
    made: Lowering,
    node: onnx.NodeProto,
    source: Value,
    output: Value,
    rows: Array,
    bias: Array | None,
) -> tuple[Array, Array, Finish]:
    """Return rows, bias and finish in the types of the program."""
    full = np.zeros(len(rows)) if bias is None else as_float(bias).reshape(-1)
    full = np.broadcast_to(full, len(rows))
    if source.grid is None or output.grid is None:
        limits = made.limits.get(output.name, (-np.inf, np.inf))
        return rows.astype(np.float32), full.astype(np.float32), Finish(None, limits)
    integers, steps, scales = _on_grids(rows, full, source.grid.scale)
    reach = np.abs(integers.astype(np.int64)).sum(axis=1) * source.grid.highest + np.abs(steps)
    if reach.max(initial=0) > SUM_LIMIT:
        raise ModelError(
            f"{node.op_type} {node.name!r} sums up to {reach.max():,}, more than the "
            f"{SUM_LIMIT:,} of 32 bits; use --values fp32"
        )
    name = node.name or output.name
    factors = factors_of(name, scales * source.grid.scale / output.grid.scale)
    return integers, steps.astype(np.int32), Finish(factors)


def _on_grids(rows: Array, bias: Array, step: float) -> tuple[Array, IntArray, Array]:
    """Return rows and their bias as whole numbers, and the scale of each row.

    A row counts in steps of its scale, its bias in such times the `step` of the input's grid.
    """
    integers, scales = quantise_rows(rows)
    # a bias far beyond its row's reach would leave 32 bits: such rows get a coarser scale
    least = np.abs(bias) / (step * _MOST_BIAS)
    coarse = least > scales
    if coarse.any():
        scales = np.maximum(scales, least)
        integers[coarse] = np.rint(rows[coarse] / scales[coarse, None]).astype(np.int8)
    scales = np.where(scales > 0.0, scales, 1.0)
    return integers, np.floor(bias / (scales * step) + 0.5).astype(np.int64), scales
