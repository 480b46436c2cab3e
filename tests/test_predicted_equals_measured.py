"""The error that the report states is the error that onnxruntime shows, for every kind of layer.

The predicted error comes from unfold, Gram, solver and layout; the measured one from running
the dense and the pruned model on the same batches. Any slip in between shows here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from build_onnx import Array, branch, constant, model, normal, one_node, value
from onnx import TensorProto, helper

import onnx_lobs
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.graph.run.session import Session

FLOAT32_SUMS = 1e-5  # absolute, on errors of 0.05 to 1: float32 convolutions of some 100 terms
# half precision rounds the measured outputs and the stored biases to 2^-11 (2^-8) of themselves
HALF = {"float16": 2e-3, "bfloat16": 1e-2}
N_BATCHES = 3
CPU = "CPUExecutionProvider"


@dataclass(frozen=True)
class Case:
    """A model of one layer, and which axes of its output y are the layer's own outputs.

    `keep` None: no bias can change, so the error is relative to the plain energy. `bias` is
    what y holds beyond the pre-activations, if it differs from sample to sample.
    """

    proto: onnx.ModelProto
    shape: tuple[int, ...]
    keep: tuple[int, ...] | None
    options: dict[str, Any] = field(default_factory=dict)
    bias: Array | float = 0.0


def inputs_of(case: Case, dtype: Any = np.float32) -> list[dict[str, Array]]:
    """Batches with a mean, so that a forgotten centring shows."""
    return [{"x": (normal(i, *case.shape) + 0.7).astype(dtype)} for i in range(N_BATCHES)]


def outputs_of(proto: onnx.ModelProto, batches: Sequence[dict[str, Array]]) -> list[Array]:
    session = Session(to_executable(proto, None, CPU)[0])
    return [session.run(feeds)["y"].astype(np.float64) for feeds in batches]


def measure(case: Case, pruned: onnx.ModelProto, batches: Sequence[dict[str, Array]]) -> float:
    """Return sum (y' - y)^2 / sum (y - mean y)^2 as onnxruntime has it."""
    dense, after = outputs_of(case.proto, batches), outputs_of(pruned, batches)
    change = sum(float(((a - b) ** 2).sum()) for a, b in zip(after, dense, strict=True))
    stack = np.stack(dense) - case.bias
    mean = np.zeros(())
    if case.keep is not None:
        kept = {axis % (stack.ndim - 1) + 1 for axis in case.keep}
        mean = stack.mean(axis=tuple(set(range(stack.ndim)) - kept), keepdims=True)
    return change / float(((stack - mean) ** 2).sum())


def check(case: Case, sequential: bool, tolerance: float, dtype: Any = np.float32) -> None:
    batches = inputs_of(case, dtype)
    result = onnx_lobs.prune(
        case.proto,
        batches,
        sparsity=0.5,
        min_weights=0,
        sequential=sequential,
        correct=False,  # which would change the bias after the layer's error was told
        **case.options,
    )
    onnx.checker.check_model(result.model)
    (record,) = result.report.layers
    assert 0.01 < record.error < 1  # something was pruned, and not all
    assert record.zeros >= record.weights // 2
    assert record.error == pytest.approx(measure(case, result.model, batches), abs=tolerance)


def conv(
    nd: int = 2,
    groups: int = 1,
    channels: int = 4,
    outputs: int = 8,
    bias: bool = False,
    size: int = 8,
    kernel: tuple[int, ...] = (3, 2, 3),
    **attributes: Any,
) -> Case:
    weights = {"w": normal(9, outputs, channels // groups, *kernel[:nd])}
    if bias:
        weights["b"] = normal(8, outputs)
    names = ["x", *weights]
    proto = one_node("Conv", weights, names, rank=nd + 2, group=groups, **attributes)
    spatial = (size + 1, size, size - 1)[:nd]
    depthwise = {"include": ("node",)} if groups == channels else {}
    return Case(proto, (2, channels, *spatial), (1,), depthwise)


def deconv(
    nd: int = 2, groups: int = 1, bias: bool = False, kernel: int = 3, **attributes: Any
) -> Case:
    weights = {"w": normal(9, 4, 8 // groups, *(kernel,) * nd)}
    if bias:
        weights["b"] = normal(8, 8)
    names = ["x", *weights]
    proto = one_node("ConvTranspose", weights, names, rank=nd + 2, group=groups, **attributes)
    options = {"include": ("node",)} if groups == 4 else {}
    return Case(proto, (2, 4, *(5, 6, 4)[:nd]), (1,), options)


def gemm(shape: tuple[int, int], bias: tuple[int, ...] | None, **attributes: Any) -> Case:
    """The weight on the right, unless attributes has left=True."""
    left = attributes.pop("left", False)
    weights = {"w": normal(9, *shape)}
    names = ["w", "x"] if left else ["x", "w"]
    if bias is not None:
        weights["c"] = normal(8, *bias)
        names.append("c")
    proto = one_node("Gemm", weights, names, **attributes)
    if left:
        columns = shape[0 if attributes.get("transA") else 1]
        x = (20, columns) if attributes.get("transB") else (columns, 20)
    else:
        columns = shape[1 if attributes.get("transB") else 0]
        x = (columns, 20) if attributes.get("transA") else (20, columns)
    beta = attributes.get("beta", 1.0)
    keep = None if beta == 0 else (-2,) if left else (-1,)
    return Case(proto, x, keep, bias=beta * weights["c"] if bias else 0.0)


def matmul(
    weight: tuple[int, ...],
    x: tuple[int, ...],
    keep: tuple[int, ...],
    *,
    left: bool = False,
    add: tuple[int, ...] | None = None,
    add_first: bool = False,
) -> Case:
    names = ["w", "x"] if left else ["x", "w"]
    weights = {"w": normal(9, *weight)}
    nodes = [helper.make_node("MatMul", names, ["y" if add is None else "p"], name="node")]
    if add is not None:
        weights["b"] = normal(8, *add)
        pair = ["b", "p"] if add_first else ["p", "b"]
        nodes.append(helper.make_node("Add", pair, ["y"]))
    proto = model(nodes, [value("x", x)], ["y"], weights)
    # a correction of two axes has no room in a bias of one
    plain = add is None or (left and len(weight) == 2 and len(add) < 2)
    return Case(proto, x, None if plain else keep, bias=0.0 if add is None else weights["b"])


CONVS: dict[str, Callable[[], Case]] = {
    **{
        f"conv{nd}d-g{g}-s{s}-d{d}-{'b' if b else 'n'}": (
            lambda nd=nd, g=g, s=s, d=d, b=b: conv(
                nd, g, bias=b, strides=[s] * nd, dilations=[d] * nd, pads=[1] * nd + [2] * nd
            )
        )
        for nd, g, s, d, b in [
            (1, 1, 1, 1, True), (1, 2, 2, 1, False), (1, 4, 1, 2, True), (2, 1, 1, 1, False),
            (2, 1, 2, 2, True), (2, 2, 1, 2, True), (2, 4, 1, 1, False), (2, 4, 2, 1, True),
            (3, 1, 1, 1, True), (3, 2, 2, 1, True), (3, 4, 1, 1, True),
        ]
    },
    "conv-plain": conv,
    "conv-pointwise": lambda: conv(kernel=(1, 1), bias=True),
    "conv-same-upper": lambda: conv(auto_pad="SAME_UPPER", strides=[2, 2], bias=True),
    "conv-same-lower": lambda: conv(auto_pad="SAME_LOWER", strides=[2, 3], bias=True, size=7),
    "conv-valid": lambda: conv(auto_pad="VALID", strides=[3, 1]),
}  # fmt: skip
DECONVS: dict[str, Callable[[], Case]] = {
    "deconv1d": lambda: deconv(1, bias=True),
    "deconv2d-strided": lambda: deconv(strides=[2, 2], output_padding=[1, 0], pads=[1, 0, 0, 1]),
    "deconv2d-grouped": lambda: deconv(groups=2, strides=[2, 1], dilations=[1, 2], bias=True),
    "deconv2d-depthwise": lambda: deconv(groups=4, bias=True),
    "deconv2d-same-upper": lambda: deconv(auto_pad="SAME_UPPER", strides=[2, 2], bias=True),
    "deconv2d-same-lower": lambda: deconv(auto_pad="SAME_LOWER", strides=[2, 2], kernel=4),
    "deconv2d-sparse": lambda: deconv(auto_pad="SAME_UPPER", strides=[3, 3], kernel=2),
    "deconv2d-shape": lambda: deconv(output_shape=[10, 12], strides=[2, 2], bias=True),
    "deconv3d": lambda: deconv(3, strides=[1, 2, 1], bias=True, kernel=2),
}
GEMMS: dict[str, Callable[[], Case]] = {
    f"gemm-{ta}{tb}-{'left' if left else 'right'}-{index}": (
        lambda ta=ta, tb=tb, left=left, bias=bias, beta=beta: gemm(
            (9, 7), bias, transA=ta, transB=tb, alpha=0.5, beta=beta, left=left
        )
    )
    for ta, tb, left in itertools.product((0, 1), (0, 1), (False, True))
    for index, (bias, beta) in enumerate([(None, 1.0), ((), 0.5), ((1, 1), 0.0)])
} | {
    "gemm-row-bias": lambda: gemm((9, 7), (7,), alpha=2.0),
    "gemm-row-bias-2d": lambda: gemm((9, 7), (1, 7), beta=0.5),
    "gemm-column-bias": lambda: gemm((9, 7), (20, 1), beta=-2.0),
    "gemm-full-bias": lambda: gemm((9, 7), (20, 7)),
    "gemm-one-bias": lambda: gemm((9, 7), (1,)),
}
MATMULS: dict[str, Callable[[], Case]] = {
    "matmul": lambda: matmul((9, 7), (20, 9), (-1,)),
    "matmul-add": lambda: matmul((9, 7), (20, 9), (-1,), add=(7,)),
    "matmul-add-first": lambda: matmul((9, 7), (2, 10, 9), (-1,), add=(7,), add_first=True),
    "matmul-add-scalar": lambda: matmul((9, 7), (20, 9), (-1,), add=()),
    "matmul-add-position": lambda: matmul((9, 7), (20, 9), (-1,), add=(20, 1)),
    "matmul-vector": lambda: matmul((9, 7), (9,), (-1,)),
    "matmul-row": lambda: matmul((9,), (20, 9), ()),
    "matmul-row-add": lambda: matmul((9,), (20, 9), (), add=()),
    "matmul-left": lambda: matmul((7, 9), (9, 20), (-2,), left=True),
    "matmul-left-add": lambda: matmul((7, 9), (2, 9, 20), (-2,), left=True, add=(7, 1)),
    "matmul-left-add-flat": lambda: matmul((7, 9), (9, 20), (-2,), left=True, add=(20,)),
    "matmul-left-vector": lambda: matmul((7, 9), (9,), (-1,), left=True),
    "matmul-left-row": lambda: matmul((9,), (9, 20), (), left=True, add=()),
    "matmul-batch": lambda: matmul((3, 9, 7), (3, 20, 9), (0, -1)),
    "matmul-batch-add": lambda: matmul((3, 9, 7), (3, 20, 9), (0, -1), add=(3, 1, 7)),
    "matmul-batch-broadcast-x": lambda: matmul((3, 9, 7), (20, 9), (0, -1)),
    "matmul-batch-broadcast-both": lambda: matmul((2, 1, 9, 7), (3, 20, 9), (0, -1)),
    "matmul-batch-extra": lambda: matmul((3, 9, 7), (2, 3, 10, 9), (1, -1), add=(1, 3, 1, 7)),
    "matmul-batch-of-one": lambda: matmul((1, 9, 7), (4, 5, 9), (-1,), add=(7,)),
    "matmul-batch-vector": lambda: matmul((3, 9, 7), (9,), (0, -1)),
    "matmul-batch-left": lambda: matmul((3, 7, 9), (3, 9, 20), (0, -2), left=True, add=(3, 7, 1)),
}


def einsum(
    equation: str,
    weight: tuple[int, ...],
    x: tuple[int, ...],
    keep: tuple[int, ...],
    *,
    left: bool = False,
    add: tuple[int, ...] | None = None,
) -> Case:
    """`keep`: the output's axes of groups and rows, used where there is a bias to change."""
    weights = {"w": normal(9, *weight)}
    names = ["w", "x"] if left else ["x", "w"]
    first = "y" if add is None else "p"
    nodes = [helper.make_node("Einsum", names, [first], name="node", equation=equation)]
    if add is not None:
        weights["b"] = normal(8, *add)
        nodes.append(helper.make_node("Add", ["p", "b"], ["y"]))
    proto = model(nodes, [value("x", x)], ["y"], weights)
    return Case(proto, x, None if add is None else keep, bias=0.0 if add is None else weights["b"])


EINSUMS: dict[str, Callable[[], Case]] = {
    "dense": lambda: einsum("bsd,de->bse", (9, 7), (4, 5, 9), (-1,)),
    "dense-add": lambda: einsum("bsd,de->bse", (9, 7), (4, 5, 9), (-1,), add=(7,)),
    "dense-turned": lambda: einsum("bsd,ed->bse", (7, 9), (4, 5, 9), (-1,), add=(7,)),
    "dense-left": lambda: einsum("de,bsd->bse", (9, 7), (4, 5, 9), (-1,), left=True, add=(7,)),
    "dense-open": lambda: einsum("...d,de->...e", (9, 7), (4, 5, 9), (-1,), add=(7,)),
    "dense-implicit": lambda: einsum("ij,jk", (9, 7), (20, 9), (-1,), add=(7,)),
    "dense-spaces": lambda: einsum("b s d, d e -> b s e", (9, 7), (4, 5, 9), (-1,)),
    "heads": lambda: einsum("bsd,dhe->bshe", (9, 2, 5), (4, 6, 9), (-2, -1), add=(2, 5)),
    "heads-first": lambda: einsum("bsd,hde->bhse", (2, 9, 5), (4, 6, 9), (1, -1), add=(2, 1, 5)),
    "heads-in": lambda: einsum("bshe,hed->bsd", (2, 5, 7), (4, 6, 2, 5), (-1,), add=(7,)),
    "heads-in-turned": lambda: einsum("bhse,edh->bsd", (5, 7, 2), (4, 2, 6, 5), (-1,), add=(7,)),
    "per-head": lambda: einsum(
        "bhsd,hde->bhse", (3, 9, 5), (4, 3, 6, 9), (1, -1), add=(3, 1, 5)
    ),
    "per-head-last": lambda: einsum("bshd,hde->bseh", (3, 9, 5), (4, 6, 3, 9),
                                    (-2, -1), add=(5, 3)),
    "per-head-many": lambda: einsum(
        "bshd,dche->bsche", (9, 2, 3, 5), (4, 6, 3, 9), (2, 3, 4), add=(2, 3, 5)
    ),
    "per-head-open": lambda: einsum("h...d,hde->h...e", (3, 9, 5), (3, 4, 6, 9), (0, -1)),
    "rows-first": lambda: einsum("bsd,de->ebs", (9, 7), (4, 5, 9), (0,), add=(7, 1, 1)),
    "rows-split": lambda: einsum("bsd,dhe->hbse", (9, 2, 5), (4, 6, 9), (0, -1), add=(2, 1, 1, 5)),
    "columns-first": lambda: einsum("dbs,de->bse", (9, 7), (9, 4, 5), (-1,), add=(7,)),
    "one-row": lambda: einsum("bsd,d->bs", (9,), (4, 5, 9), (), add=()),
    "summed": lambda: einsum("btsd,de->bse", (9, 7), (4, 3, 5, 9), (-1,), add=(7,)),
    "summed-open": lambda: einsum("t...d,ed->...e", (7, 9), (3, 4, 5, 9), (-1,), add=(7,)),
    "weight-of-one": lambda: einsum("bsd,hde->bhse", (1, 9, 5), (4, 6, 9), (-1,), add=(5,)),
    "group-of-one": lambda: einsum("bhsd,hde->bhse", (1, 9, 5), (4, 3, 6, 9), (-1,), add=(5,)),
    "column-of-one": lambda: einsum("bsdc,dce->bse", (9, 1, 5), (4, 6, 9, 3), (-1,), add=(5,)),
    "repeated-group": lambda: einsum(
        "bhsd,hde->bhse", (3, 9, 5), (4, 1, 6, 9), (1, -1), add=(3, 1, 5)
    ),
}  # fmt: skip
KINDS = CONVS | DECONVS | GEMMS | MATMULS | {f"einsum-{k}": case for k, case in EINSUMS.items()}
TINY = {"matmul-vector", "matmul-left-vector", "matmul-batch-vector"}  # one sample a batch


@pytest.mark.slow
@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("kind", [k for k in KINDS if k not in TINY])
def test_error_of_one_layer_is_measured_in_onnxruntime(kind: str, sequential: bool) -> None:
    check(KINDS[kind](), sequential, FLOAT32_SUMS)


@pytest.mark.parametrize("kind", sorted(TINY))
def test_error_of_a_layer_with_vector_inputs_is_measured(kind: str) -> None:
    case = KINDS[kind]()
    batches = [{"x": normal(i, *case.shape) + 0.7} for i in range(40)]
    batches = [{"x": feeds["x"].astype(np.float32)} for feeds in batches]
    result = onnx_lobs.prune(case.proto, batches, min_weights=0)
    (record,) = result.report.layers
    assert 0.01 < record.error < 1
    measured = measure(case, result.model, batches)
    assert record.error == pytest.approx(measured, abs=FLOAT32_SUMS)


@pytest.mark.parametrize("sequential", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose", "Gemm", "MatMul"])
def test_error_is_measured_in_every_precision(op: str, dtype: Any, sequential: bool) -> None:
    is_conv = op.startswith("Conv")
    weight = normal(9, *((6, 6, 3) if is_conv else (9, 7))).astype(dtype)
    bias = normal(8, 6 if is_conv else 7).astype(dtype)
    elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    names = ["x", "w"] if op == "MatMul" else ["x", "w", "b"]
    out = value("y", None, elem_type)
    nodes = [helper.make_node(op, names, ["p" if op == "MatMul" else "y"], name="node")]
    if op == "MatMul":
        nodes.append(helper.make_node("Add", ["p", "b"], ["y"]))
    shape, keep = ((3, 6, 20), (1,)) if is_conv else ((40, 9), (-1,))
    weights = {"w": weight, "b": bias}
    proto = model(nodes, [value("x", shape, elem_type)], [out], weights, opset=22, ir_version=10)
    tolerance = HALF.get(np.dtype(dtype).name, FLOAT32_SUMS)
    check(Case(proto, shape, keep), sequential, tolerance, dtype)


@pytest.mark.parametrize("sequential", [False, True])
def test_error_of_a_tied_weight_is_that_of_all_its_uses(sequential: bool) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["p"], name="node"),
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Gemm", ["r", "w", "c"], ["q"]),
        helper.make_node("Concat", ["p", "q"], ["y"], axis=1),
    ]
    weights = {"w": normal(9, 9, 7), "b": normal(8, 7), "c": normal(7, 7)}
    proto = model(nodes, [value("x", [None, None])], ["y"], weights)
    check(Case(proto, (20, 9), (-1,)), sequential, FLOAT32_SUMS)


@pytest.mark.slow
@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("outer", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_error_of_a_layer_inside_a_branch_is_measured(
    nested: bool, outer: bool, sequential: bool
) -> None:
    weight = {"w": normal(9, 8, 4, 3)}
    then = branch(
        [
            helper.make_node("Sigmoid", ["h"], ["s"]),
            helper.make_node("Conv", ["s", "w"], ["t"], name="node"),
        ],
        "t",
        **({} if outer else weight),
    )
    other = branch([helper.make_node("Conv", ["h", "v"], ["e"], name="other")], "e")
    inner = helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=other)
    if nested:
        inner.output[0] = "z"
        wrap = branch([inner], "z")
        quiet = branch([helper.make_node("Conv", ["h", "v"], ["f"])], "f")
        inner = helper.make_node("If", ["yes"], ["y"], then_branch=wrap, else_branch=quiet)
    nodes = [
        constant("yes", np.array(True)),
        helper.make_node("Relu", ["x"], ["h"]),
        inner,
    ]
    weights = {"v": normal(7, 8, 4, 3), **(weight if outer else {})}
    proto = model(nodes, [value("x", [2, 4, 20])], [value("y", [2, 8, 18])], weights)
    check(Case(proto, (2, 4, 20), (1,), {"include": ("node",)}), sequential, FLOAT32_SUMS)


CHAINS: dict[str, tuple[tuple[int, ...], list[onnx.NodeProto], dict[str, Array]]] = {
    "identity": ((9, 7), [helper.make_node("Identity", ["w"], ["v"])], {}),
    "transpose": ((7, 9), [helper.make_node("Transpose", ["w"], ["v"])], {}),
    "reshape": (
        (63,),
        [helper.make_node("Reshape", ["w", "n"], ["v"])],
        {"n": np.array([9, -1], np.int64)},
    ),
    "flatten": ((9, 7, 1), [helper.make_node("Flatten", ["w"], ["v"], axis=-2)], {}),
    "several": (
        (7, 9),
        [
            helper.make_node("Unsqueeze", ["w", "n"], ["u"]),
            helper.make_node("Transpose", ["u"], ["t"], perm=[2, 1, 0]),
            helper.make_node("Squeeze", ["t", "m"], ["v"]),
        ],
        {"n": np.array([0], np.int64), "m": np.array([2], np.int64)},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("chain", CHAINS)
def test_error_of_a_weight_behind_reversible_nodes_is_measured(
    chain: str, sequential: bool
) -> None:
    shape, steps, more = CHAINS[chain]
    nodes = [*steps, helper.make_node("Gemm", ["x", "v"], ["y"], name="node")]
    proto = model(nodes, [value("x", [None, None])], ["y"], {"w": normal(9, *shape), **more})
    check(Case(proto, (20, 9), (-1,)), sequential, FLOAT32_SUMS)


@pytest.mark.parametrize("sequential", [False, True])
def test_error_of_a_weight_stored_in_half_precision_behind_a_cast(sequential: bool) -> None:
    nodes = [
        helper.make_node("Cast", ["w"], ["v"], to=TensorProto.FLOAT),
        helper.make_node("Gemm", ["x", "v"], ["y"], name="node"),
    ]
    proto = model(
        nodes, [value("x", [None, None])], ["y"], {"w": normal(9, 9, 7, dtype=np.float16)}
    )
    check(Case(proto, (20, 9), (-1,)), sequential, FLOAT32_SUMS)


def test_error_is_exact_when_means_are_a_hundred_times_the_spread() -> None:
    case = gemm((9, 7), (7,))
    batches = [{"x": normal(i, 50, 9) + 100} for i in range(N_BATCHES)]
    result = onnx_lobs.prune(case.proto, batches, min_weights=0)
    measured = measure(case, result.model, batches)
    assert result.report.layers[0].error == pytest.approx(measured, abs=FLOAT32_SUMS)


def sequential_net() -> onnx.ModelProto:
    """Conv, Relu, grouped Conv behind a transposed weight, residual sum, two-headed MatMul."""
    nodes = [
        helper.make_node("Transpose", ["w2t"], ["w2"], perm=[1, 0, 2]),
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="first", pads=[1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="second", pads=[1, 1], group=2),
        helper.make_node("Add", ["c2", "r1"], ["s"]),
        helper.make_node("MatMul", ["s", "w3"], ["m3"], name="third"),
        helper.make_node("MatMul", ["s", "w4"], ["m4"], name="fourth"),
        helper.make_node("Mul", ["m3", "m4"], ["p"]),
        helper.make_node("MatMul", ["p", "w5"], ["y"], name="last"),
    ]
    weights = {
        "w1": normal(1, 8, 4, 3), "b1": normal(2, 8), "w2t": normal(3, 4, 8, 3),
        "w3": normal(4, 10, 6), "w4": normal(5, 10, 6), "w5": normal(6, 6, 5),
    }  # fmt: skip
    return model(nodes, [value("x", [None, 4, 10])], ["y", "c1", "m3", "m4", "c2"], weights)


OUTPUT_OF = {"first": "c1", "second": "c2", "third": "m3", "fourth": "m4", "last": "y"}


@pytest.mark.slow
def test_sequential_errors_are_those_of_the_pruned_network_against_the_dense_one() -> None:
    proto = sequential_net()
    batches = [{"x": normal(i, 6, 4, 10)} for i in range(4)]
    result = onnx_lobs.prune(proto, batches, sparsity=0.4, min_weights=0, sequential=True)
    dense, pruned = Session(proto), Session(result.model)
    pairs = [(dense.run(feeds), pruned.run(feeds)) for feeds in batches]
    assert [record.name for record in result.report.layers] == list(OUTPUT_OF)
    for record in result.report.layers:
        name = OUTPUT_OF[record.name]
        before = np.concatenate([pair[0][name] for pair in pairs]).astype(np.float64)
        after = np.concatenate([pair[1][name] for pair in pairs])
        centre = before.mean(axis=(0, 2), keepdims=True) if name.startswith("c") else 0.0
        measured = ((after - before) ** 2).sum() / ((before - centre) ** 2).sum()
        assert record.error == pytest.approx(measured, abs=FLOAT32_SUMS)


@pytest.mark.slow
def test_a_tied_weight_pruned_early_reaches_later_layers_in_sequential_mode() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], name="tied"),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Gemm", ["r", "w"], ["b"]),
        helper.make_node("Relu", ["b"], ["s"]),
        helper.make_node("Gemm", ["s", "v"], ["y"], name="last"),
    ]
    proto = model(
        nodes, [value("x", [None, None])], ["y"], {"w": normal(1, 8, 8), "v": normal(2, 8, 6)}
    )
    batches = [{"x": normal(i, 30, 8)} for i in range(3)]
    result = onnx_lobs.prune(proto, batches, min_weights=0, sequential=True)
    case = Case(proto, (), (-1,))
    last = next(record for record in result.report.layers if record.name == "last")
    assert last.error == pytest.approx(measure(case, result.model, batches), abs=FLOAT32_SUMS)
