"""The bound is never below the error that onnxruntime shows, and says so where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import Array, model, normal, value
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from onnx_lobs.bound.propagate import OutputBound, bound_outputs
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable

CPU = "CPUExecutionProvider"
ROUNDING = 1 + 2e-5  # float32 sums of some 1000 terms, squared
N_BATCHES = 2


def perturbed(proto: onnx.ModelProto, noise: float, seed: int = 5) -> onnx.ModelProto:
    """A copy whose floating weights of more than one element differ, as pruning changes them."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    rng = np.random.default_rng(seed)
    for tensor in copy.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and tensor.name.startswith(("w", "b")):
            kept = rng.random(array.shape) > noise / 2
            change = (array * kept + noise * 0.1 * rng.standard_normal(array.shape)).astype("f4")
            tensor.CopyFrom(onnx.numpy_helper.from_array(change, tensor.name))
    return copy


def bounds(
    dense: onnx.ModelProto, pruned: onnx.ModelProto, batches: list[dict[str, Array]]
) -> dict[str, OutputBound]:
    pair = [Model(to_executable(proto, None, CPU)[0], None) for proto in (dense, pruned)]
    found = bound_outputs(*pair, batches, provider=CPU)
    return {each.output: each for each in found}


def measured(
    dense: onnx.ModelProto, pruned: onnx.ModelProto, batches: list[dict[str, Array]], name: str
) -> float:
    from build_onnx import run

    pairs = [(run(dense, **f)[name], run(pruned, **f)[name]) for f in batches]
    change = sum(float(np.square(b.astype("f8") - a).sum()) for a, b in pairs)
    return change / sum(float(np.square(a.astype("f8")).sum()) for a, _ in pairs)


def node(op: str, *names: str, **attributes: Any) -> onnx.NodeProto:
    """The last name is the output."""
    return helper.make_node(op, list(names[:-1]), [names[-1]], **attributes)


FIRST = [node("MatMul", "x", "w1", "pre"), node("Add", "pre", "b1", "h")]
WEIGHTS = {"w1": normal(1, 6, 8), "b1": normal(2, 8), "w2": normal(3, 8, 5)}
LAST = [node("MatMul", "z", "w2", "y")]


def check(
    middle: list[onnx.NodeProto], extra: dict[str, Array] | None = None, last: bool = True, **options: Any
) -> float:
    """Check the bound of MatMul, Add, `middle` (h to z), MatMul; return bound over measured."""
    nodes = [*FIRST, *middle, *(LAST if last else [])]
    out = "y" if last else "z"
    outputs = [value(out, [None, None])]
    proto = model(nodes, [value("x", [None, 6])], outputs, WEIGHTS | (extra or {}), **options)
    pruned = perturbed(proto, 0.4)
    batches = [{"x": normal(i, 7, 6)} for i in range(N_BATCHES)]
    found = bounds(proto, pruned, batches)[out]
    assert found.missing == ()
    assert found.bound is not None
    true = measured(proto, pruned, batches, out)
    assert found.measured == pytest.approx(true, rel=1e-4)
    assert 0 < true <= found.bound * ROUNDING
    return found.bound / true


f32 = np.float32
SMOOTH = [
    "Abs", "Atan", "Celu", "Cos", "Dropout", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish",
    "Identity", "LeakyRelu", "Mish", "Neg", "Relu", "Selu", "Sigmoid", "Sin", "Softplus",
    "Softsign", "Tanh", "Exp", "Softmax", "LogSoftmax",
]  # fmt: skip


@pytest.mark.parametrize("op", SMOOTH)
def test_bound_holds_through_functions_of_one_element(op: str) -> None:
    assert check([node(op, "h", "z")], opset=20, ir_version=9) < 100 ** 2


MIDDLES: dict[str, tuple[list[onnx.NodeProto], dict[str, Array]]] = {
    "residual": ([node("Relu", "h", "r"), node("Add", "r", "h", "z")], {}),
    "twice": ([node("Add", "h", "h", "z")], {}),
    "subtract": ([node("Relu", "h", "r"), node("Sub", "r", "h", "z")], {}),
    "square": ([node("Mul", "h", "h", "z")], {}),
    "gate": ([node("Sigmoid", "h", "s"), node("Mul", "s", "h", "z")], {}),
    "by-input": ([node("ReduceSum", "x", "one", "s"), node("Mul", "h", "s", "z")],
                 {"one": np.array([1])}),
    "gate-broadcast": (
        [node("ReduceMean", "h", "m", axes=[1]), node("Mul", "m", "h", "z")], {}),
    "ratio": ([node("Softplus", "h", "s"), node("Add", "s", "c1", "t"), node("Div", "h", "t", "z")],
              {"c1": f32([0.5])}),
    "ratio-broadcast": (
        [node("Exp", "h", "e"), node("ReduceSum", "e", "one", "s"), node("Div", "e", "s", "z")],
        {"one": np.array([1])}),
    "over": ([node("Abs", "h", "a"), node("Add", "a", "c1", "t"), node("Div", "c1", "t", "z")],
             {"c1": f32([0.5])}),
    "reciprocal": ([node("Abs", "h", "a"), node("Add", "a", "c1", "t"), node("Reciprocal", "t", "z")],
                   {"c1": f32([0.5])}),
    "root": ([node("Abs", "h", "a"), node("Add", "a", "c1", "t"), node("Sqrt", "t", "z")],
             {"c1": f32([0.5])}),
    "log": ([node("Abs", "h", "a"), node("Add", "a", "c1", "t"), node("Log", "t", "z")],
            {"c1": f32([0.5])}),
    "cube": ([node("Pow", "h", "c3", "z")], {"c3": f32(3)}),
    "inverse-root": (
        [node("Abs", "h", "a"), node("Add", "a", "c1", "t"), node("Pow", "t", "c3", "z")],
        {"c1": f32([0.5]), "c3": f32(-0.5)}),
    "clip": ([node("Clip", "h", "lo", "hi", "z")], {"lo": f32(-0.5), "hi": f32(1)}),
    "clip-below": ([node("Clip", "h", "lo", "z")], {"lo": f32(-0.5)}),
    "prelu": ([node("PRelu", "h", "s", "z")], {"s": normal(4, 8)}),
    "max": ([node("Neg", "h", "n"), node("Max", "h", "n", "c", "z")], {"c": f32([0.1])}),
    "where": ([node("Greater", "x", "zero", "g"), node("ReduceMax", "x", "r", axes=[1]),
               node("Greater", "r", "zero", "c"), node("Neg", "h", "n"), node("Where", "c", "h", "n", "z")],
              {"zero": f32(0)}),
    "mean-of-two": ([node("Relu", "h", "r"), node("Mean", "r", "h", "z")], {}),
    "sum-of-two": ([node("Relu", "h", "r"), node("Sum", "r", "h", "c", "z")], {"c": f32([1])}),
    "concat": ([node("Split", "h", "s", axis=1), node("Concat", "r", "a", "z", axis=1)], {}),
    "gather": ([node("Gather", "h", "i", "z", axis=1)], {"i": np.array([0, 0, -8, 3, 1, 2, 2, 7])}),
    "slice": ([node("Slice", "h", "lo", "hi", "t"), node("Pad", "t", "p", "z")],
              {"lo": np.array([0, 2]), "hi": np.array([9, 6]), "p": np.array([0, 2, 0, 2])}),
    "tile": ([node("Slice", "h", "lo", "hi", "t"), node("Tile", "t", "p", "z")],
             {"lo": np.array([0, 2]), "hi": np.array([9, 6]), "p": np.array([1, 2])}),
    "expand": ([node("ReduceL2", "h", "n", axes=[1]), node("Expand", "n", "p", "z")],
               {"p": np.array([1, 8])}),
    "scale": ([node("Relu", "h", "r"), node("Mul", "r", "s", "z")], {"s": normal(4, 8)}),
    "broadcast-up": ([node("ReduceL1", "h", "n", axes=[1]), node("Mul", "n", "s", "z")],
                     {"s": normal(4, 8)}),
    "affine": ([node("Mul", "h", "s", "t"), node("Sub", "t", "c", "u"), node("Div", "u", "s", "z")],
               {"s": normal(4, 8), "c": normal(5, 8)}),
    "norm": ([node("LayerNormalization", "h", "s", "c", "z")], {"s": normal(4, 8), "c": normal(5, 8)}),
    "norm-by-hand": (
        [node("ReduceMean", "h", "m", axes=[1]), node("Sub", "h", "m", "u"), node("Pow", "u", "two", "q"),
         node("ReduceMean", "q", "v", axes=[1]), node("Add", "v", "eps", "ve"), node("Sqrt", "ve", "d"),
         node("Div", "u", "d", "z")], {"two": f32(2), "eps": f32(1e-5)}),
    "norm-of-squares": (
        [node("Mul", "h", "h", "q"), node("ReduceMean", "q", "v", axes=[1]), node("Sqrt", "v", "d"),
         node("Div", "h", "d", "z")], {}),
    "attention": (
        [node("Transpose", "h", "t", perm=[1, 0]), node("MatMul", "h", "t", "s"),
         node("Softmax", "s", "a"), node("MatMul", "a", "h", "z")], {}),
    "gemm-of-two": (
        [node("Gemm", "h", "h", "g", transB=1, alpha=0.3), node("Gemm", "g", "h", "h", "z", beta=0.5)], {}),
    "gemm-bias": ([node("Gemm", "x", "c", "h", "z")], {"c": normal(4, 6, 8)}),
}  # fmt: skip


@pytest.mark.parametrize("kind", [k for k in MIDDLES if k != "concat"])
def test_bound_holds_between_two_layers(kind: str) -> None:
    middle, extra = MIDDLES[kind]
    assert check(middle, extra) < 1000**2  # it says something


@pytest.mark.parametrize("kind", [k for k in MIDDLES if k != "concat"])
def test_bound_holds_at_the_output_of_an_operator(kind: str) -> None:
    middle, extra = MIDDLES[kind]
    check(middle, extra, last=False)
