"""Rules of Conv, ConvTranspose, Gemm and MatMul, with the affine steps behind them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.evaluation.bound.norms import conv_norm, matrix_norm
from onnx_lobs.evaluation.bound.site import BoundSite, Step, number, total
from onnx_lobs.graph.model import attributes

Norm = Callable[[Array | None], float]
"""from the factors of the output channels (None: ones) to the norm of the scaled operator"""


def product(site: BoundSite) -> Step | str:
    """Bound a product with constants, and the affine steps with constants behind it.

    The factors that those steps give the output channels are taken into the operator's norm.
    """
    norm, axis = _operator(site)
    scale: Array | None = None
    gain = 1.0
    name = site.node.output[0]
    rank = len(site.shape)
    for node in site.unit.nodes[1:]:
        factors = _channel_factors(site, node, name, axis % max(rank, 1), rank)
        if factors is None:
            gain *= _stretch(site, node, name)
        else:
            scale = factors if scale is None else scale * factors
        name = node.output[0]
    key = site.unit.output, b"" if scale is None else scale.tobytes()
    if key not in site.pair.norms:
        site.pair.norms[key] = norm(scale)
    gain *= site.pair.norms[key]
    if site.node.op_type == "MatMul":
        gain *= _repeats(site, site.unit.source or 0)
    step = total(gain)
    source = site.unit.source or 0
    return lambda figures, errors: step(figures, errors[source : source + 1])


def _operator(site: BoundSite) -> tuple[Norm, int]:
    """Return the norm of the first node, and the axis of its output channels."""
    op = site.node.op_type
    if op == "Conv":
        return _conv(site), 1
    if op == "ConvTranspose":
        return _transposed_conv(site), 1
    if op == "BatchNormalization":
        factors = _normalisation(site, site.node)
        return lambda scale: float(np.abs(factors if scale is None else factors * scale).max()), 1
    right = site.unit.source == 0
    return (_gemm if op == "Gemm" else _matmul)(site, right), -1 if right else -2


def _split(site: BoundSite) -> tuple[Array, tuple[int, ...], tuple[int, ...]]:
    """Return a kernel as (groups, first / groups, second, *kernel), strides and dilations."""
    weight = site.constant(1)
    assert weight is not None
    groups = site.attribute("group", 1)
    ones = (1,) * (weight.ndim - 2)
    split = weight.astype(np.float64).reshape(groups, -1, *weight.shape[1:])
    return split, site.integers("strides", ones), site.integers("dilations", ones)


def _conv(site: BoundSite) -> Norm:
    weight, strides, dilations = _split(site)

    def norm(scale: Array | None) -> float:
        scaled = weight if scale is None else weight * _along(scale, weight, 1)
        return conv_norm(scaled, strides, dilations)

    return norm


def _transposed_conv(site: BoundSite) -> Norm:
    """Return the norm of the adjoint Conv, whose inputs are this node's output channels."""
    weight, strides, dilations = _split(site)

    def norm(scale: Array | None) -> float:
        scaled = weight if scale is None else weight * _along(scale, weight, 2)
        return conv_norm(scaled, strides, dilations)

    return norm


def _along(scale: Array, weight: Array, axis: int) -> Array:
    """Return factors of (groups * channels) in the shape that multiplies a grouped kernel."""
    shape = [1] * weight.ndim
    shape[0], shape[axis] = weight.shape[0], weight.shape[axis]
    return np.broadcast_to(scale, (weight.shape[0] * weight.shape[axis],)).reshape(shape)


def _gemm(site: BoundSite, right: bool) -> Norm:
    weight = site.constant(1 if right else 0)
    assert weight is not None
    turned = bool(site.attribute("transB" if right else "transA", 0))
    rows = weight.T if right != turned else weight
    matrix = rows.astype(np.float64) * site.attribute("alpha", 1.0)
    return lambda scale: matrix_norm(matrix if scale is None else matrix * scale.reshape(-1, 1))


def _matmul(site: BoundSite, right: bool) -> Norm:
    weight = site.constant(1 if right else 0)
    assert weight is not None
    weight = weight.astype(np.float64)
    if weight.ndim == 1:
        rows = weight.reshape(1, -1)
    else:
        rows = weight.swapaxes(-1, -2) if right else weight
    return lambda scale: matrix_norm(rows if scale is None else rows * scale.reshape(-1, 1))


def _repeats(site: BoundSite, position: int) -> float:
    """Return the root of how often a MatMul's batch axes repeat an operand."""
    batches = [math.prod(site.input_shape(i)[:-2]) for i in (0, 1)]
    shapes = [site.input_shape(i)[:-2] for i in (0, 1)]
    return math.sqrt(math.prod(np.broadcast_shapes(*shapes)) / max(batches[position], 1))


def _channel_factors(
    site: BoundSite, node: onnx.NodeProto, name: str, axis: int, rank: int
) -> Array | None:
    """Return what an affine step multiplies each output channel by; None if not so simple."""
    is_plain = site.shapes[node.output[0]] == site.shapes[name] == site.shape and rank > 0
    if not is_plain:  # this step, or one before it, repeats what the product gave
        return None
    if node.op_type in ("Add", "Sub"):
        return np.ones(1)
    if node.op_type == "BatchNormalization":
        return _normalisation(site, node) if axis == 1 else None
    other = site.pair.value(node.input[1 if node.input[0] == name else 0]).astype(np.float64)
    factors = 1 / other if node.op_type == "Div" else other
    wide = factors.reshape((1,) * (rank - factors.ndim) + factors.shape)
    if factors.size == 1:
        return factors.reshape(1)
    return factors.reshape(-1) if wide.shape[axis : axis + 1] == (factors.size,) else None


def _normalisation(site: BoundSite, node: onnx.NodeProto) -> Array:
    scale, _, _, variance = (site.pair.value(n).astype(np.float64) for n in node.input[1:5])
    epsilon = float(str(attributes(node).get("epsilon", 1e-5)))
    return np.asarray(scale / np.sqrt(variance + epsilon))


def _stretch(site: BoundSite, node: onnx.NodeProto, name: str) -> float:
    """Return the gain of an affine step on its own."""
    before, after = site.shapes[name], site.shapes[node.output[0]]
    repeats = math.sqrt(math.prod(after) / max(math.prod(before), 1))
    if node.op_type in ("Add", "Sub"):
        return repeats
    if node.op_type == "BatchNormalization":
        return float(np.abs(_normalisation(site, node)).max())
    other = site.pair.value(node.input[1 if node.input[0] == name else 0]).astype(np.float64)
    factors = np.abs(1 / other if node.op_type == "Div" else other)
    return repeats * float(factors.max(initial=0.0))


def matmul_of_two(site: BoundSite) -> Step | str:
    """Bound A'B' - AB = (A' - A) B' + A (B' - B), or with the roles of dense and pruned changed."""
    norms = [[_largest_norm(site, name, i) for name in site.both(i)] for i in (0, 1)]
    gains = [_repeats(site, i) for i in (0, 1)]
    return _bilinear(norms, gains)


def gemm_of_two(site: BoundSite) -> Step | str:
    """Bound a Gemm of which both matrices, or the bias, differ."""
    if site.moves(2) and not (site.moves(0) or site.moves(1)):
        return _bias_of_gemm(site)
    if not all(site.has(i) for i in (0, 1)):
        return "Gemm without two matrices has no rule"
    alpha = abs(float(site.attribute("alpha", 1.0)))
    norms = [[_largest_norm(site, name, i) for name in site.both(i)] for i in (0, 1)]
    main, bias = _bilinear(norms, [alpha, alpha]), _bias_of_gemm(site)
    return lambda figures, errors: main(figures, errors) + bias(figures, errors)


def _bias_of_gemm(site: BoundSite) -> Step:
    if not site.moves(2):
        return total(0.0, 0.0)
    beta = abs(float(site.attribute("beta", 1.0)))
    return total(0.0, 0.0, beta * math.sqrt(site.repeats(2)))


def _bilinear(norms: Sequence[Sequence[str]], gains: Sequence[float]) -> Step:
    """Return the better of the two ways to bound a product; norms are (dense, pruned) twice."""

    def step(figures: Any, errors: Sequence[float]) -> float:
        (left, left_after), (right, right_after) = (
            [number(figures, key) for key in pair] for pair in norms
        )
        first, second = (gain * error for gain, error in zip(gains, errors, strict=False))
        return min(
            _sum((first, right_after), (second, left)), _sum((first, right), (second, left_after))
        )

    return step


def _sum(*terms: tuple[float, float]) -> float:
    """Add products error * gain, in which an error of 0 counts as nothing whatever its gain."""
    return sum(error * gain for error, gain in terms if error)


def _largest_norm(site: BoundSite, name: str, position: int) -> str:
    """Show an upper bound of the largest spectral norm in a stack of activations.

    The smaller of the Frobenius norm and the root of largest row sum times largest column sum.
    """
    value = site.wide(name)
    write = site.write
    if len(site.input_shape(position)) < 2:
        return site.show(write.reduce("ReduceL2", value))
    frobenius = write.reduce("ReduceL2", value, -2, -1)
    absolute = site.make("Abs", value)
    rows = write.reduce("ReduceMax", write.reduce("ReduceSum", absolute, -1), -2)
    columns = write.reduce("ReduceMax", write.reduce("ReduceSum", absolute, -2), -1)
    mixed = site.make("Sqrt", site.make("Mul", rows, columns))
    return site.show(write.reduce("ReduceMax", site.make("Min", frobenius, mixed)))
