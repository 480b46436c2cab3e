"""An operator's gain is the largest stretch that onnxruntime shows, or a little more."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from bound_networks import bounds_of, node
from build_onnx import model, normal, run, value

from onnx_lobs.arrays import Array

STEP = 1e-2  # of differences: of most functions here the slope hardly changes on the way
ROUNDING = 1 + 1e-3  # float32 over STEP, squared
TIGHT = 1.06  # the grid of points and the step
BORDERS = 1.3  # what a convolution's bound does not know: borders, and w between the grid's
STRIDED = 1.7  # and the outputs that strides leave out

LINE = np.linspace(-4, 4, 201).astype(np.float32)
IMAGE = normal(1, 2, 6, 6)
FLAT = normal(2, 6)
f32 = np.float32
Kind = tuple[list[onnx.NodeProto], Array, dict[str, Array], float]

FUNCTIONS = (
    "Abs", "Atan", "Cos", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
    "Mish", "Neg", "Relu", "Sigmoid", "Sin", "Softplus", "Softsign", "Tanh",
)  # fmt: skip
KINDS: dict[str, Kind] = {
    **{op: ([node(op, "h", "y")], LINE, {}, TIGHT) for op in FUNCTIONS},
    "gelu-by-tanh": ([node("Gelu", "h", "y", approximate="tanh")], LINE, {}, TIGHT),
    "steep-leak": ([node("LeakyRelu", "h", "y", alpha=3.0)], LINE, {}, TIGHT),
    "steep-elu": ([node("Elu", "h", "y", alpha=2.0)], LINE, {}, TIGHT),
    "steep-sigmoid": ([node("HardSigmoid", "h", "y", alpha=0.7)], LINE, {}, TIGHT),
    "clip": ([node("Clip", "h", "lo", "hi", "y")], LINE, {"lo": f32(-1), "hi": f32(1)}, TIGHT),
    "softmax": ([node("Softmax", "h", "y")], np.zeros(2, f32), {}, TIGHT),
    "concat": ([node("Concat", "h", "h", "y", axis=1)], FLAT, {}, math.sqrt(2) * TIGHT),
    "twice": ([node("Sum", "h", "h", "h", "y")], FLAT, {}, TIGHT),
    "difference": ([node("Neg", "h", "n"), node("Sub", "h", "n", "y")], FLAT, {}, TIGHT),
    "sum-that-repeats": ([node("Unsqueeze", "h", "two", "u"), node("Add", "u", "z", "y")], FLAT,
                         {"two": np.array([2]), "z": np.zeros((1, 6, 5), f32)}, TIGHT),
    "scale": ([node("Mul", "s", "h", "y")], FLAT, {"s": normal(3, 6)}, TIGHT),
    "scale-that-repeats": ([node("Unsqueeze", "h", "two", "u"), node("Mul", "u", "s", "y")], FLAT,
                           {"two": np.array([2]), "s": np.full((1, 1, 5), 2, f32)}, TIGHT),
    "quotient": ([node("Div", "h", "s", "y")], FLAT, {"s": normal(3, 6)}, TIGHT),
    "mean": ([node("ReduceMean", "h", "one", "y")], FLAT, {"one": np.array([1])}, TIGHT),
    "largest": ([node("ReduceMax", "h", "one", "y")], FLAT, {"one": np.array([1])}, TIGHT),
    "matmul": ([node("MatMul", "h", "w", "y")], FLAT, {"w": normal(3, 6, 4)}, TIGHT),
    "vector": ([node("MatMul", "h", "w", "y")], FLAT, {"w": normal(3, 6)}, TIGHT),
    "stack": ([node("MatMul", "h", "w", "t"), node("Transpose", "t", "y", perm=[1, 0, 2])], FLAT,
              {"w": np.stack([normal(3, 6, 4)] * 3)}, TIGHT),
    "gemm": ([node("Gemm", "h", "w", "y", transB=1, alpha=0.5)], FLAT, {"w": normal(3, 4, 6)},
             TIGHT),
    "gemm-bias": ([node("Gemm", "a", "c", "h", "y", beta=3.0)], FLAT,
                  {"a": np.zeros((4, 2), f32), "c": np.zeros((2, 6), f32)}, TIGHT),
    "norm": ([node("BatchNormalization", "h", "s", "z", "z", "v", "y", epsilon=0.1)], IMAGE,
             {"s": f32([-3, 1]), "z": f32([1, 2]), "v": f32([0.5, 2])}, TIGHT),
    "conv": ([node("Conv", "h", "w", "y", pads=[1, 1, 1, 1])], IMAGE, {"w": normal(4, 3, 2, 3, 3)},
             BORDERS),
    "conv-strided": ([node("Conv", "h", "w", "y", strides=[2, 1], auto_pad="SAME_UPPER")], IMAGE,
                     {"w": normal(4, 3, 2, 3, 3)}, STRIDED),
    "conv-depthwise": ([node("Conv", "h", "w", "y", group=2, pads=[2, 2, 2, 2], dilations=[2, 2])],
                       IMAGE, {"w": normal(6, 4, 1, 3, 3)}, STRIDED),
    "conv-transposed": ([node("ConvTranspose", "h", "w", "y", group=2, strides=[2, 2])], IMAGE,
                        {"w": normal(5, 2, 3, 2, 2)}, TIGHT),
    "max-pool": ([node("MaxPool", "h", "y", kernel_shape=[3, 3])], 9 * np.eye(6, dtype=f32)[None],
                 {}, 3.0),
    "average-pool": ([node("AveragePool", "h", "y", kernel_shape=[2, 2], strides=[2, 2])], IMAGE,
                     {}, TIGHT),
    "average-pool-padded": (
        [node("AveragePool", "h", "y", kernel_shape=[2, 2], pads=[1, 1, 0, 0], strides=[2, 2])],
        IMAGE, {}, TIGHT),
    "global-average": ([node("GlobalAveragePool", "h", "y")], IMAGE, {}, TIGHT),
    "global-max": ([node("GlobalMaxPool", "h", "y")], IMAGE, {}, TIGHT),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_gain_is_the_largest_stretch_of_a_small_difference(kind: str) -> None:
    nodes, point, weights, slack = KINDS[kind]
    inputs = [value("x", [1, *point.shape])]
    make = [node("Add", "x", "b", "h"), *nodes]
    zero = np.zeros((1, *point.shape), np.float32)
    dense = model(make, inputs, ["y"], weights | {"b": zero}, opset=20, ir_version=9)
    before = run(dense, x=point[None])["y"].astype(np.float64).ravel()
    basis = np.eye(point.size, dtype=np.float32).reshape(-1, *zero.shape)
    moved = [run(dense, x=point[None] + STEP * one)["y"].ravel() for one in basis]
    slopes = (np.array(moved) - before) / STEP
    steepest = np.linalg.svd(slopes.T)[2][0].astype(np.float32)
    found = 0.0
    for sign in (1, -1):
        shift = (sign * STEP * steepest).reshape(zero.shape)
        pruned = model(make, inputs, ["y"], weights | {"b": shift}, opset=20, ir_version=9)
        record = bounds_of(dense, pruned, [{"x": point[None]}])[0]["y"]
        assert record.bound is not None
        assert record.measured is not None
        assert record.measured <= record.bound * ROUNDING
        found = max(found, record.measured / record.bound)
    assert found >= 1 / slack**2
