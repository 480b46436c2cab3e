"""The bound is never below the error that onnxruntime shows, and says so where there is none."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import Array, branch, initializer, model, normal, run, value
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from onnx_lobs.errors import ModelError
from onnx_lobs.evaluation.bound import propagate
from onnx_lobs.evaluation.bound.propagate import KEPT_TWINS, OutputBound, bound_outputs
from onnx_lobs.evaluation.bound.twin import make_twin
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable

CPU = "CPUExecutionProvider"
ROUNDING = 2e-6  # of float32, relative to the output's own length and to the bound
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


def is_below(true: float, bound: float) -> bool:
    """Whether a relative squared error is at most the bound, but for the networks' rounding."""
    return bool(np.sqrt(true) <= np.sqrt(bound) * (1 + ROUNDING) + ROUNDING)


def bounds(
    dense: onnx.ModelProto, pruned: onnx.ModelProto, batches: list[dict[str, Array]]
) -> dict[str, OutputBound]:
    pair = [Model(to_executable(proto, None, CPU)[0], None) for proto in (dense, pruned)]
    found = bound_outputs(*pair, batches, provider=CPU)
    return {each.output: each for each in found}


def measured(
    dense: onnx.ModelProto, pruned: onnx.ModelProto, batches: list[dict[str, Array]], name: str
) -> float:
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
    middle: list[onnx.NodeProto],
    extra: dict[str, Array] | None = None,
    last: bool = True,
    **options: Any,
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
    assert true > 0
    assert is_below(true, found.bound)
    return found.bound / true


f32 = np.float32
SMOOTH = [
    "Abs", "Atan", "Celu", "Cos", "Dropout", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish",
    "Identity", "LeakyRelu", "Mish", "Neg", "Relu", "Selu", "Sigmoid", "Sin", "Softplus",
    "Softsign", "Tanh", "Exp", "Softmax", "LogSoftmax",
]  # fmt: skip


@pytest.mark.parametrize("op", SMOOTH)
def test_bound_holds_through_functions_of_one_element(op: str) -> None:
    assert check([node(op, "h", "z")], opset=20, ir_version=9) < 100**2


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
    "reciprocal": (
        [node("Abs", "h", "a"), node("Add", "a", "c1", "t"), node("Reciprocal", "t", "z")],
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
               node("Greater", "r", "zero", "c"), node("Neg", "h", "n"),
               node("Where", "c", "h", "n", "z")],
              {"zero": f32(0)}),
    "mean-of-two": ([node("Relu", "h", "r"), node("Mean", "r", "h", "z")], {}),
    "sum-of-two": ([node("Relu", "h", "r"), node("Sum", "r", "h", "c", "z")], {"c": f32([1])}),
    "split-and-concat": (
        [helper.make_node("Split", ["h"], ["r", "a"], axis=1),
         node("Concat", "a", "r", "z", axis=1)], {}),
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
    "norm": ([node("LayerNormalization", "h", "s", "c", "z")],
             {"s": normal(4, 8), "c": normal(5, 8)}),
    "norm-by-hand": (
        [node("ReduceMean", "h", "m", axes=[1]), node("Sub", "h", "m", "u"),
         node("Pow", "u", "two", "q"), node("ReduceMean", "q", "v", axes=[1]),
         node("Add", "v", "eps", "ve"), node("Sqrt", "ve", "d"),
         node("Div", "u", "d", "z")], {"two": f32(2), "eps": f32(1e-5)}),
    "norm-of-squares": (
        [node("Mul", "h", "h", "q"), node("ReduceMean", "q", "v", axes=[1]), node("Sqrt", "v", "d"),
         node("Div", "h", "d", "z")], {}),
    "attention": (
        [node("Transpose", "h", "t", perm=[1, 0]), node("MatMul", "h", "t", "s"),
         node("Softmax", "s", "a"), node("MatMul", "a", "h", "z")], {}),
    "gemm-of-two": (
        [node("Gemm", "h", "h", "g", transB=1, alpha=0.3),
         node("Gemm", "g", "h", "h", "z", beta=0.5)], {}),
    "computed-weight": (
        [node("Transpose", "w3", "t3", perm=[1, 0]), node("Mul", "t3", "two", "m3"),
         node("MatMul", "h", "m3", "z")], {"w3": normal(7, 8, 8), "two": f32(2)}),
    "left-weight": ([node("MatMul", "w3", "h", "z")], {"w3": normal(7, 4, 7)}),
    "vector-weight": (
        [node("MatMul", "h", "w3", "v"), node("Unsqueeze", "v", "one", "u"),
         node("Mul", "u", "s", "z")],
        {"w3": normal(7, 8), "one": np.array([1]), "s": normal(4, 8)}),
    "stacked-weight": (
        [node("MatMul", "h", "w3", "v"), node("ReduceSum", "v", "zero", "z", keepdims=0)],
        {"w3": normal(7, 3, 8, 8), "zero": np.array([0])}),
    "gemm-weight": (
        [node("Gemm", "h", "w3", "c", "g", transB=1, alpha=0.5), node("Mul", "g", "s", "z")],
        {"w3": normal(7, 8, 8), "c": normal(5, 8), "s": normal(4, 8)}),
    "gemm-left-weight": ([node("Gemm", "w3", "h", "z", transA=1)], {"w3": normal(7, 7, 4)}),
    "scale-of-position": (
        [node("MatMul", "h", "w3", "v"), node("Mul", "v", "s", "z")],
        {"w3": normal(7, 8, 8), "s": normal(4, 7, 8)}),
    "stretched": (
        [node("MatMul", "h", "w3", "v"), node("Add", "v", "c", "a"), node("Div", "a", "s", "b"),
         node("ReduceSum", "b", "zero", "z", keepdims=0)],
        {"w3": normal(7, 8, 8), "c": normal(5, 3, 7, 8), "s": normal(4, 3, 7, 1),
         "zero": np.array([0])}),
    "gemm-bias-alone": ([node("ReduceMean", "h", "m", axes=[0], keepdims=0),
                         node("Gemm", "c", "d", "m", "z", beta=2.0)],
                        {"c": normal(4, 7, 6), "d": normal(5, 6, 8)}),
    "power-of-two-signs": ([node("Pow", "h", "c2", "z")], {"c2": f32([2])}),
    "empty": ([node("Slice", "h", "lo", "lo", "t"), node("Relu", "t", "e"),
               node("Concat", "e", "h", "z", axis=0)], {"lo": np.array([0])}),
    "gemm-bias": ([node("Gemm", "x", "c", "h", "z")], {"c": normal(4, 6, 8)}),
}  # fmt: skip


@pytest.mark.parametrize("kind", MIDDLES)
def test_bound_holds_between_two_layers(kind: str) -> None:
    middle, extra = MIDDLES[kind]
    assert check(middle, extra) < 1000**2  # it says something


@pytest.mark.parametrize("kind", MIDDLES)
def test_bound_holds_at_the_output_of_an_operator(kind: str) -> None:
    middle, extra = MIDDLES[kind]
    check(middle, extra, last=False)


CONV_FIRST = [node("Conv", "x", "w1", "b1", "h", pads=[1, 1, 1, 1])]
CONV_WEIGHTS = {"w1": normal(1, 6, 3, 3, 3), "b1": normal(2, 6)}
IMAGES: dict[str, tuple[list[onnx.NodeProto], dict[str, Array]]] = {
    "strided-grouped": (
        [node("Relu", "h", "r"), node("Conv", "r", "w2", "z", group=2, strides=[2, 2])],
        {"w2": normal(3, 4, 3, 3, 3)}),
    "transposed": (
        [node("Relu", "h", "r"), node("ConvTranspose", "r", "w2", "z", group=2, strides=[2, 1])],
        {"w2": normal(3, 6, 2, 3, 2)}),
    "depthwise-normalised": (
        [node("Conv", "h", "w2", "d", group=6, dilations=[2, 2]),
         node("BatchNormalization", "d", "s", "c", "m", "v", "z")],
        {"w2": normal(3, 6, 1, 3, 3), "s": normal(4, 6), "c": normal(5, 6), "m": normal(6, 6),
         "v": normal(7, 6) ** 2 + f32(0.1)}),
    "normalised-alone": (
        [node("Relu", "h", "r"), node("BatchNormalization", "r", "s", "c", "m", "v", "z")],
        {"s": normal(4, 6), "c": normal(5, 6), "m": normal(6, 6),
         "v": normal(7, 6) ** 2 + f32(0.1)}),
    "instance": ([node("InstanceNormalization", "h", "s", "c", "z")],
                 {"s": normal(4, 6), "c": normal(5, 6)}),
    "excite": (
        [node("GlobalAveragePool", "h", "g"), node("Conv", "g", "w2", "k"),
         node("HardSigmoid", "k", "s"), node("Mul", "h", "s", "z")],
        {"w2": normal(3, 6, 6, 1, 1)}),
    "max-pool": ([node("MaxPool", "h", "z", kernel_shape=[3, 3], strides=[2, 2])], {}),
    "average-pool": ([node("AveragePool", "h", "z", kernel_shape=[3, 2], strides=[2, 1])], {}),
    "average-pool-padded": (
        [node("AveragePool", "h", "z", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], {}),
    "global-max": ([node("GlobalMaxPool", "h", "z")], {}),
    "resize": ([node("Resize", "h", "", "n", "z", mode="nearest")], {"n": f32([1, 1, 2, 3])}),
    "resize-unevenly": (
        [node("Resize", "h", "", "n", "z", mode="nearest", nearest_mode="ceil",
              coordinate_transformation_mode="align_corners")], {"n": f32([1, 1, 1.7, 2.4])}),
    "shuffle": ([node("DepthToSpace", "e", "z", blocksize=2)], {"w2": normal(3, 8, 6, 1, 1)}),
    "channel-scale": ([node("Mul", "h", "s", "z")], {"s": normal(4, 6, 1, 1)}),
}  # fmt: skip
IMAGES["shuffle"][0].insert(0, node("Conv", "h", "w2", "e"))


@pytest.mark.parametrize("kind", IMAGES)
def test_bound_holds_for_images(kind: str) -> None:
    middle, extra = IMAGES[kind]
    out = value("z", [None] * 4)
    weights = CONV_WEIGHTS | extra
    proto = model([*CONV_FIRST, *middle], [value("x", [None, 3, 7, 8])], [out], weights, opset=18)
    pruned = perturbed(proto, 0.4)
    batches = [{"x": normal(i, 2 + i, 3, 7, 8)} for i in range(N_BATCHES)]  # of two sizes
    found = bounds(proto, pruned, batches)["z"]
    assert found.missing == ()
    assert found.bound is not None
    true = measured(proto, pruned, batches, "z")
    assert true > 0
    assert is_below(true, found.bound)
    assert found.bound < 30**2 * true


def test_bound_of_one_layer_is_its_error() -> None:
    proto = model(FIRST, [value("x", [None, 6])], ["h"], WEIGHTS)
    pruned = perturbed(proto, 0.4)
    batches = [{"x": normal(0, 7, 6)}]
    found = bounds(proto, pruned, batches)["h"]
    assert found.bound == pytest.approx(measured(proto, pruned, batches, "h"), rel=1e-4)
    assert list(found.layers) == ["MatMul_pre"]


def test_bound_of_a_chain_is_that_of_the_theorem() -> None:
    proto = model([*FIRST, node("Relu", "h", "z"), *LAST], [value("x", [None, 6])], ["y"], WEIGHTS)
    pruned = perturbed(proto, 0.4)
    x = normal(0, 7, 6).astype(np.float64)
    w1, b1, w2 = (initializer(proto, n).astype(np.float64) for n in ("w1", "b1", "w2"))
    v1, c1, v2 = (initializer(pruned, n).astype(np.float64) for n in ("w1", "b1", "w2"))
    z = np.maximum(x @ w1 + b1, 0)
    first = np.linalg.norm(x @ (v1 - w1) + c1 - b1)
    second = np.linalg.norm(z @ (v2 - w2))
    expected = np.linalg.norm(v2, 2) * first + second
    found = bounds(proto, pruned, [{"x": x.astype(np.float32)}])["y"]
    energy = np.linalg.norm(z @ w2)
    assert found.bound == pytest.approx((expected / energy) ** 2, rel=1e-4)
    alone = (np.linalg.norm(v2, 2) * first / energy) ** 2, (second / energy) ** 2
    assert list(found.layers.values()) == pytest.approx(sorted(alone, reverse=True), rel=1e-4)


def test_equal_models_have_no_perturbed_outputs() -> None:
    proto = model(FIRST, [value("x", [None, 6])], ["h"], WEIGHTS)
    assert bounds(proto, proto, [{"x": normal(0, 7, 6)}]) == {}


def test_models_of_other_nodes_are_refused() -> None:
    inputs, outputs = [value("x", [None, 6])], [value("h", [None, 8])]
    proto = model(FIRST, inputs, outputs, WEIGHTS)
    other = model([FIRST[0], node("Sub", "pre", "b1", "h")], inputs, outputs, WEIGHTS)
    with pytest.raises(ModelError, match="differ in the node that makes 'h'"):
        bounds(proto, other, [])
    longer = model([*FIRST, node("Relu", "h", "y")], inputs, outputs, WEIGHTS)
    with pytest.raises(ModelError, match="differ in the node that makes 'y'"):
        bounds(proto, longer, [])
    fewer = model(FIRST, inputs, outputs, {name: WEIGHTS[name] for name in ("w1", "b1")})
    with pytest.raises(ModelError, match="no constant 'w2'"):
        bounds(proto, fewer, [])


NO_RULE: dict[str, tuple[list[onnx.NodeProto], dict[str, Array], str]] = {
    "step": ([node("Round", "h", "z")], {}, "Round_z: Round has no rule"),
    "reflect": ([node("Pad", "h", "p", "z", mode="reflect")], {"p": np.array([0, 1, 0, 1])},
                "mode 'reflect'"),
    "rounded": ([node("Cast", "h", "i", to=6), node("Cast", "i", "z", to=1)], {},
                "int32 is no float"),
    "chosen": ([node("ArgMax", "h", "i", axis=1), node("Cast", "i", "z", to=1)], {}, "ArgMax"),
    "picked": ([node("ArgMax", "h", "i", axis=1), node("Gather", "h", "i", "z", axis=1)], {},
               "ArgMax"),
    "exponent": ([node("Pow", "h", "h", "z")], {}, "exponent"),
    "learned-norm": ([node("ReduceMean", "h", "m", axes=[0], keepdims=0),
                      node("LayerNormalization", "h", "m", "z")], {}, "weight that the network"),
    "condition": ([node("Greater", "h", "zero", "c"), node("Where", "c", "h", "zero", "z")],
                  {"zero": f32(0)}, "Greater"),
    "foreign": ([node("Gelu", "h", "z", domain="com.microsoft")], {},
                "'com.microsoft' has no rule"),
    "resized": ([node("Unsqueeze", "h", "axes", "u"),
                 node("Resize", "u", "", "n", "v", mode="linear"),
                 node("Squeeze", "v", "axes", "z")],
                {"axes": np.array([0, 1]), "n": f32([1, 1, 2, 2])}, "mode 'linear'"),
    "kernel": ([node("Unsqueeze", "h", "axes", "u"), node("Conv", "u", "u", "v"),
                node("Squeeze", "v", "axes", "z")], {"axes": np.array([0, 1])}, "kernel that"),
    "statistics": ([node("ReduceMean", "h", "m", axes=[0], keepdims=0),
                    node("BatchNormalization", "h", "one", "m", "zeros", "one", "z")],
                   {"one": np.ones(8, f32), "zeros": np.zeros(8, f32)}, "no constants"),
    "training": ([node("Identity", "h", "k"),
                  helper.make_node("BatchNormalization", ["k", "one", "zeros", "zeros", "one"],
                                   ["z", "m", "v"], training_mode=1)],
                 {"one": np.ones(8, f32), "zeros": np.zeros(8, f32)}, "training mode"),
    "size": ([node("ReduceMax", "h", "r", keepdims=0), node("Abs", "r", "a"),
              node("Cast", "a", "i", to=7),
              node("Clip", "i", "eight", "eight", "e"), node("Unsqueeze", "e", "zero", "f"),
              node("Concat", "minus", "f", "s", axis=0),
              node("Reshape", "h", "s", "z")],
             {"eight": np.array(8), "minus": np.array([-1]), "zero": np.array([0])},
             "int64 is no float"),
    "slope": ([node("PRelu", "h", "h", "z")], {}, "slope"),
    "limits": ([node("ReduceMax", "h", "m", keepdims=0), node("Clip", "h", "", "m", "z")], {},
               "limits"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_RULE)
def test_an_output_without_bound_says_which_node_has_no_rule(kind: str) -> None:
    middle, extra, words = NO_RULE[kind]
    nodes = [*FIRST, *middle, node("Relu", "h", "other")]
    shape = (
        [None, None] if kind in ("foreign", "kernel", "size") else None
    )  # which onnx does not infer
    outputs = [value("z", shape), value("other", [None, 8])]
    domains = ("com.microsoft",) if kind == "foreign" else ()
    proto = model(nodes, [value("x", [None, 6])], outputs, WEIGHTS | extra, domains=domains)
    pruned = perturbed(proto, 0.4)
    found = bounds(proto, pruned, [{"x": normal(0, 7, 6)}])
    assert found["z"].bound is None
    assert found["z"].layers == {}
    (reason,) = found["z"].missing
    assert words in reason
    assert found["other"].bound is not None  # what is off the path keeps its bound


def test_a_value_behind_a_subgraph_has_no_bound_and_is_not_measured() -> None:
    then, other = (branch([node(op, "h", out)], out) for op, out in (("Relu", "t"), ("Neg", "e")))
    choose = helper.make_node(
        "If", ["yes"], ["z"], name="choice", then_branch=then, else_branch=other
    )
    nodes = [*FIRST, choose, node("Neg", "z", "y")]
    outputs = [value("y", [None, 8]), value("h", [None, 8])]
    weights = WEIGHTS | {"yes": np.array(True)}
    proto = model(nodes, [value("x", [None, 6])], outputs, weights)
    found = bounds(proto, perturbed(proto, 0.4), [{"x": normal(0, 7, 6)}])
    assert found["y"].bound is None
    assert found["y"].measured is None
    assert found["y"].missing == ("choice: If has subgraphs",)
    assert found["h"].bound is not None


@pytest.mark.parametrize(
    ("shift", "reason"),
    [(1, "the dense output is infinite"), (-1, "the bound is too large for a number")],
)
def test_a_bound_beyond_all_numbers_is_none(shift: float, reason: str) -> None:
    middle = [node("Mul", "h", "big", "a"), node("Exp", "a", "b"), node("Add", "b", "h", "z")]
    dense, pruned = (
        model([*FIRST, *middle], [value("x", [None, 6])], ["z"],
              {"w1": WEIGHTS["w1"], "b1": np.full(8, side, "f4"), "big": f32([300])})
        for side in (shift, -shift)
    )  # fmt: skip
    found = bounds(dense, pruned, [{"x": np.zeros((7, 6), np.float32)}])["z"]
    assert found.bound is None
    assert reason in found.missing[0]


UNARY = ("Relu", "Sigmoid", "Tanh", "Softmax", "Neg", "Abs", "HardSwish", "Identity")
BINARY = ("Add", "Sub", "Mul", "Max")


@given(
    steps=st.lists(st.tuples(st.sampled_from((*UNARY, *BINARY, "Dense", "Norm")),
                             st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8),
    noise=st.sampled_from([0.01, 0.2, 1.0]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_bound_holds_on_random_graphs(
    steps: list[tuple[str, int, int]], noise: float, seed: int
) -> None:
    names, nodes, weights = ["h"], list(FIRST), dict(WEIGHTS)
    weights |= {"s": normal(4, 8), "c": normal(5, 8)}
    for i, (op, a, b) in enumerate(steps):
        left, right, out = names[a % len(names)], names[b % len(names)], f"v{i}"
        if op == "Dense":
            weights[f"w_{i}"] = normal(seed + i, 8, 8)
            nodes.append(node("MatMul", left, f"w_{i}", out))
        elif op == "Norm":
            nodes.append(node("LayerNormalization", left, "s", "c", out))
        else:
            nodes.append(node(op, *((left, right) if op in BINARY else (left,)), out))
        names.append(out)
    last = [value(name, [None, 8]) for name in names[1:]]
    proto = model(nodes, [value("x", [None, 6])], last, weights)
    pruned = perturbed(proto, noise, seed)
    for name, each in bounds(proto, pruned, [{"x": normal(seed, 5, 6)}]).items():
        if each.missing == ("the dense output is zero everywhere",):
            continue
        assert each.missing == (), name
        assert each.bound is not None
        assert each.measured is not None
        assert is_below(each.measured, each.bound), name


def recurrent(op: str, first: str) -> list[onnx.NodeProto]:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    made = [first, "last"]
    return [
        node("Unsqueeze", "h", "axis", "steps"),
        helper.make_node(op, ["steps", f"u{gates}", f"v{gates}"], made, hidden_size=8),
        node("Squeeze", "last", "axis", "z"),
    ]


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("first", ["all", ""])
def test_further_outputs_of_a_node_have_no_bound_of_zero(op: str, first: str) -> None:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    extra = {
        "axis": np.array([0]), f"u{gates}": normal(7, 1, 8 * gates, 8),
        f"v{gates}": normal(8, 1, 8 * gates, 8),
    }  # fmt: skip
    assert_unbounded(recurrent(op, first), extra, op)


def assert_unbounded(
    middle: list[onnx.NodeProto], extra: dict[str, Array], reason: str, **options: Any
) -> None:
    """Check that what follows `middle` differs, and has a reason in place of a bound."""
    proto = model(
        [*FIRST, *middle, *LAST], [value("x", [None, 6])], ["y"], WEIGHTS | extra, **options
    )
    changed, batches = perturbed(proto, 0.5), [{"x": normal(4, 5, 6)}]
    found = bounds(proto, changed, batches)["y"]
    assert measured(proto, changed, batches, "y") > 0
    assert found.bound is None
    assert reason in found.missing[0]


def test_indices_and_statistics_that_are_further_outputs_have_no_bound_of_zero() -> None:
    top = [
        helper.make_node("TopK", ["h", "k"], ["values", "places"], axis=1),
        node("Cast", "places", "z", to=1),
    ]
    assert_unbounded(top, {"k": np.array([8])}, "TopK")
    statistics = [
        helper.make_node("LayerNormalization", ["h", "g"], ["normal", "mean"], axis=-1),
        node("Add", "normal", "zero", "unused"),
        node("Mul", "mean", "ones", "z"),
    ]
    extra = {"g": np.ones(8, np.float32), "ones": normal(9, 1, 8), "zero": normal(9, 1)}
    assert_unbounded(statistics, extra, "further outputs of LayerNormalization")


@pytest.mark.parametrize("large", [np.inf, 1e25])
def test_an_output_whose_energy_is_no_number_has_no_bound_of_zero(large: float) -> None:
    mask = np.array([0, 0, large, 0, 0], np.float32)
    nodes = [*FIRST, node("MatMul", "h", "w2", "z"), node("Sub", "z", "mask", "y")]
    proto = model(nodes, [value("x", [None, 6])], ["y"], WEIGHTS | {"mask": mask})
    found = bounds(proto, perturbed(proto, 0.5), [{"x": normal(4, 5, 6)}])["y"]
    assert (found.bound, found.measured) == (None, None)
    assert "infinite, or too large to square" in found.missing[0]


@pytest.mark.slow
@pytest.mark.parametrize("old", [3, 5, 9])
@pytest.mark.parametrize("mode", ["asymmetric/floor", "half_pixel/round_prefer_floor"])
@pytest.mark.parametrize("scale", [2.0, 2.101, 2.3, 2.5, 2.67, 3.0])
def test_scales_that_are_not_whole_copy_one_element_more_often(
    old: int, mode: str, scale: float
) -> None:
    place, rounding = mode.split("/")
    nodes = [
        node("Add", "x", "b1", "h"),
        node("Resize", "h", "", "scales", "y", coordinate_transformation_mode=place,
             nearest_mode=rounding),
    ]  # fmt: skip
    weights = {"b1": np.zeros((1, 1, old), np.float32), "scales": np.array([1, 1, scale], "f4")}
    proto = model(nodes, [value("x", [1, 1, old])], ["y"], weights)
    for changed in range(old):
        other = onnx.ModelProto()
        other.CopyFrom(proto)
        array = np.zeros((1, 1, old), np.float32)
        array[0, 0, changed] = 0.1
        other.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(array, "b1"))
        batches = [{"x": normal(6, 1, 1, old)}]
        found = bounds(proto, other, batches)["y"]
        assert found.bound is not None
        assert is_below(measured(proto, other, batches, "y"), found.bound)


def test_a_mean_that_broadcasts_along_another_axis_is_no_projection() -> None:
    nodes = [
        node("MatMul", "x", "w1", "h"),
        node("ReduceMean", "h", "m", axes=[1], keepdims=0),
        node("Sub", "h", "m", "y"),
    ]
    proto = model(nodes, [value("x", [8, 6])], ["y"], {"w1": normal(1, 6, 8)})
    for seed in range(20):
        other = perturbed(proto, 0.02, seed)
        batches = [{"x": normal(seed, 8, 6)}]
        found = bounds(proto, other, batches)["y"]
        assert found.bound is not None
        assert is_below(measured(proto, other, batches, "y"), found.bound)
        assert found.bound > 1.5 * next(iter(bounds(centred(), perturbed(centred(), 0.02, seed),
                                                    batches).values())).bound  # fmt: skip


def centred() -> onnx.ModelProto:
    """The same with the mean in its place, a projection."""
    nodes = [
        node("MatMul", "x", "w1", "h"),
        node("ReduceMean", "h", "m", axes=[1], keepdims=1),
        node("Sub", "h", "m", "y"),
    ]
    return model(nodes, [value("x", [8, 6])], ["y"], {"w1": normal(1, 6, 8)})


def test_steps_that_repeat_what_a_product_gave_are_bounded() -> None:
    nodes = [
        node("Conv", "x", "w1", "a"),
        node("Mul", "a", "c", "b"),
        node("BatchNormalization", "b", "scale", "shift", "mean", "variance", "y"),
    ]
    ones = np.ones(8, np.float32)
    weights = {
        "w1": normal(1, 1, 4, 3, 3), "c": normal(2, 1, 8, 1, 1), "scale": 2 * ones, "shift": ones,
        "mean": ones, "variance": 4 * ones,
    }  # fmt: skip
    proto = model(nodes, [value("x", [None, 4, 6, 6])], ["y"], weights)
    batches, other = [{"x": normal(3, 5, 4, 6, 6)}], perturbed(proto, 0.3)
    found = bounds(proto, other, batches)["y"]
    assert found.bound is not None
    assert is_below(measured(proto, other, batches, "y"), found.bound)


def test_a_product_of_two_vectors_and_a_step_behind_it_are_bounded() -> None:
    nodes = [node("MatMul", "x", "w1", "a"), node("Mul", "a", "c", "y")]
    weights = {"w1": normal(1, 6), "c": np.array(3.0, np.float32)}
    proto = model(nodes, [value("x", [6])], ["y"], weights)
    batches, other = [{"x": normal(3, 6)}], perturbed(proto, 0.5)
    found = bounds(proto, other, batches)["y"]
    assert found.bound is not None
    assert is_below(measured(proto, other, batches, "y"), found.bound)


def test_shapes_that_depend_on_what_differs_differ_too() -> None:
    nodes = [
        *FIRST,
        node("Relu", "h", "r"),
        node("NonZero", "r", "places"),
        node("Shape", "places", "shape"),
        node("Cast", "shape", "number", to=1),
        node("ReduceSum", "number", "z", keepdims=1),
        node("Add", "h", "z", "y"),
    ]
    proto = model(nodes, [value("x", [None, 6])], ["y"], WEIGHTS)
    found = bounds(proto, perturbed(proto, 0.5), [{"x": normal(4, 5, 6)}])["y"]
    assert found.bound is None
    assert found.missing


@pytest.mark.slow
def test_twins_of_many_shapes_are_not_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[weakref.ref[Any]] = []

    def noted(*args: Any) -> Any:
        twin = make_twin(*args)
        kept.append(weakref.ref(twin))
        gc.collect()
        assert sum(one() is not None for one in kept) <= KEPT_TWINS
        return twin

    monkeypatch.setattr(propagate, "make_twin", noted)
    proto = model([*FIRST, *[node("Relu", "h", "z")], *LAST], [value("x", [None, 6])], ["y"],
                  WEIGHTS)  # fmt: skip
    other = perturbed(proto, 0.3)
    batches = [{"x": normal(n, n, 6)} for n in (3, 4, 5, 6, 3, 4)]
    found = bounds(proto, other, batches)["y"]
    assert len(kept) == 6
    assert found.bound is not None
    assert is_below(measured(proto, other, batches, "y"), found.bound)
