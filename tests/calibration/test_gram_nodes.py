"""Sums computed inside the graph equal those of NumPy, for every operator, geometry and opset."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import Array, branch, constant, model, normal, one_node, value
from onnx import ModelProto, TensorProto, helper

from onnx_lobs.calibration.gram_nodes import GramOutputs, add_gram_outputs
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import Session
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.layers.layer import Use
from onnx_lobs.linalg.gram import Gram

SINGLE = 1e-5  # of the largest entry: float32 products of up to 1,000 rows, in two orders
CENTRED = 1e-5  # of the variances, when the mean is 1,000 times the deviation
NEWEST = 26  # of onnxruntime
OPSETS = [7, 11, 13, 17, 18, NEWEST]


@dataclass(frozen=True)
class Case:
    """A model of one layer with the input x, and that input's shape."""

    proto: ModelProto
    shape: tuple[int, ...]


def wanted_of(index: Model) -> list[tuple[Use, int]]:
    layers = find_layers(index, LayerFilter(include=("*",)))[0]
    return [(use, layer.layout.columns) for layer in layers for use in layer.uses]


def extended(proto: ModelProto) -> tuple[ModelProto, list[tuple[Use, GramOutputs | str]]]:
    """The model with Grams as its only outputs, checked, and what they are called."""
    index = Model(proto, None)
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    del copy.graph.output[:]
    wanted = wanted_of(index)
    found = add_gram_outputs(copy.graph, index, wanted)
    if any(isinstance(outputs, GramOutputs) for outputs in found.values()):
        onnx.checker.check_model(copy, full_check=True)
    return copy, [(use, found[use.tap]) for use, _ in wanted]


def outputs_of(proto: ModelProto, x: Array, provider: str) -> dict[str, Array]:
    return Session(proto, provider=provider, exact=True).run({"x": x})


def check(
    proto: ModelProto, shape: tuple[int, ...], provider: str, dtype: Any = np.float32
) -> None:
    x = (normal(1, *shape) + 0.5).astype(dtype)
    copy, found = extended(proto)
    values = outputs_of(copy, x, provider)
    assert found
    for use, outputs in found:
        assert isinstance(outputs, GramOutputs)
        observations = use.observations(x)
        gram = Gram(observations.shape[0], observations.shape[2])
        gram.update(observations)
        matrix, total, count = outputs.read(values)
        assert count == gram.count
        for ours, theirs in ((matrix, gram.matrix), (total, gram.total)):
            assert ours.shape == theirs.shape
            assert ours.dtype == np.float64
            assert np.abs(ours - theirs).max() <= SINGLE * np.abs(theirs).max()


def conv(
    nd: int = 2, groups: int = 1, kernel: tuple[int, ...] = (3, 2, 3), **attributes: Any
) -> Case:
    weights = {"w": normal(9, 8, 4 // groups, *kernel[:nd]), "b": normal(8, 8)}
    names = ["x", "w", "b"]
    proto = one_node("Conv", weights, names, rank=nd + 2, group=groups, **attributes)
    return Case(proto, (3, 4, *(9, 8, 7)[:nd]))


def deconv(nd: int = 2, groups: int = 1, kernel: int = 3, **attributes: Any) -> Case:
    weights = {"w": normal(9, 4, 8 // groups, *(kernel,) * nd)}
    proto = one_node("ConvTranspose", weights, rank=nd + 2, group=groups, **attributes)
    return Case(proto, (3, 4, *(5, 6, 4)[:nd]))


def gemm(trans_a: int, trans_b: int, left: bool) -> Case:
    names = ["w", "x"] if left else ["x", "w"]
    proto = one_node("Gemm", {"w": normal(9, 9, 9)}, names, transA=trans_a, transB=trans_b,
                     alpha=-0.5)  # fmt: skip
    turned = not trans_b if left else trans_a
    return Case(proto, (9, 20) if turned else (20, 9))


def matmul(weight: tuple[int, ...], x: tuple[int, ...], left: bool = False) -> Case:
    node = helper.make_node("MatMul", ["w", "x"] if left else ["x", "w"], ["y"])
    sizes = [None] * len(x)
    return Case(model([node], [value("x", sizes)], ["y"], {"w": normal(9, *weight)}), x)


CASES: dict[str, Callable[[], Case]] = {
    **{
        f"conv{nd}d-g{g}-s{s}-d{d}": (
            lambda nd=nd, g=g, s=s, d=d: conv(
                nd, g, strides=[s] * nd, dilations=[d] * nd, pads=[1] * nd + [2] * nd
            )
        )
        for nd, g, s, d in itertools.product((1, 2, 3), (1, 2, 4), (1, 2), (1, 2))
    },
    "conv-pointwise": lambda: conv(kernel=(1, 1)),
    "conv-pointwise-strided": lambda: conv(kernel=(1, 1), strides=[2, 1]),
    "conv-pointwise-padded": lambda: conv(kernel=(1, 1), groups=2, pads=[0, 1, 0, 0]),
    "conv-same-upper": lambda: conv(auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv-same-lower": lambda: conv(auto_pad="SAME_LOWER", strides=[2, 3]),
    "conv-valid": lambda: conv(auto_pad="VALID", strides=[3, 1]),
    "deconv1d": lambda: deconv(1),
    "deconv2d": lambda: deconv(strides=[2, 2], output_padding=[1, 0], pads=[1, 0, 0, 1]),
    "deconv2d-grouped": lambda: deconv(groups=2, strides=[2, 1], dilations=[1, 2]),
    "deconv2d-depthwise": lambda: deconv(groups=4, strides=[2, 2]),
    "deconv2d-same-upper": lambda: deconv(auto_pad="SAME_UPPER", strides=[2, 2]),
    "deconv2d-same-lower": lambda: deconv(auto_pad="SAME_LOWER", strides=[2, 2], kernel=4),
    "deconv2d-shape": lambda: deconv(output_shape=[10, 12], strides=[2, 2]),
    "deconv2d-pointwise": lambda: deconv(kernel=1, strides=[2, 2]),
    "deconv3d": lambda: deconv(3, strides=[1, 2, 1], kernel=2),
    **{
        f"gemm-{a}{b}-{'left' if left else 'right'}": (lambda a=a, b=b, left=left: gemm(a, b, left))
        for a, b, left in itertools.product((0, 1), (0, 1), (False, True))
    },
    "matmul": lambda: matmul((9, 7), (20, 9)),
    "matmul-3d": lambda: matmul((9, 7), (2, 10, 9)),
    "matmul-vector": lambda: matmul((9, 7), (9,)),
    "matmul-row": lambda: matmul((9,), (20, 9)),
    "matmul-left": lambda: matmul((7, 9), (9, 20), True),
    "matmul-left-3d": lambda: matmul((7, 9), (2, 9, 20), True),
    "matmul-left-vector": lambda: matmul((7, 9), (9,), True),
    "matmul-left-row": lambda: matmul((9,), (9, 20), True),
    "matmul-batch": lambda: matmul((3, 9, 7), (3, 20, 9)),
    "matmul-batch-broadcast-x": lambda: matmul((3, 9, 7), (20, 9)),
    "matmul-batch-broadcast-both": lambda: matmul((2, 1, 9, 7), (3, 20, 9)),
    "matmul-batch-extra": lambda: matmul((3, 9, 7), (2, 3, 10, 9)),
    "matmul-batch-of-one": lambda: matmul((1, 9, 7), (4, 5, 9)),
    "matmul-batch-vector": lambda: matmul((3, 9, 7), (9,)),
    "matmul-batch-left": lambda: matmul((3, 7, 9), (3, 9, 20), True),
    "matmul-batch-left-extra": lambda: matmul((2, 1, 7, 9), (3, 9, 20), True),
}


@pytest.mark.parametrize("kind", CASES)
def test_sums_equal_those_of_numpy(kind: str, provider: str) -> None:
    case = CASES[kind]()
    check(case.proto, case.shape, provider)


def skip_unless_known(opset: int) -> None:
    """Skip the test if this onnxruntime is older than the opset."""
    node = helper.make_node("Identity", ["x"], ["y"])
    try:
        Session(model([node], [value("x", [1])], ["y"], opset=opset, ir_version=8))
    except ModelError as error:
        if "opset" not in str(error).lower():
            raise
        pytest.skip(f"this onnxruntime does not know opset {opset}")


@pytest.mark.parametrize("opset", OPSETS)
def test_sums_are_there_in_every_opset(opset: int, provider: str) -> None:
    skip_unless_known(opset)
    nodes = [
        helper.make_node("Conv", ["x", "u"], ["a"], auto_pad="SAME_UPPER", strides=[2, 1]),
        helper.make_node("ConvTranspose", ["a", "v"], ["b"], group=2),
        helper.make_node("Conv", ["b", "s"], ["e"], pads=[0, 1, 1, 0]),
        helper.make_node("MatMul", ["e", "w"], ["c"]),
        helper.make_node("MatMul", ["t", "c"], ["y"]),
    ]
    shapes = {"u": (4, 3, 3, 3), "v": (4, 2, 2, 1), "s": (4, 4, 2, 2), "w": (7, 6), "t": (3, 5)}
    weights = {name: normal(i, *shape) for i, (name, shape) in enumerate(shapes.items())}
    proto = model(
        nodes, [value("x", [None, 3, 8, 7])], [value("y", [None] * 4)], weights,
        opset=opset, ir_version=8 if opset < 20 else 10,
    )  # fmt: skip
    index = Model(proto, None)
    copy, found = extended(proto)
    shown = onnx.ModelProto()
    shown.CopyFrom(proto)
    shown.graph.output.extend(value(name) for name in ("a", "b", "c", "e"))
    x = normal(1, 5, 3, 8, 7) + 0.5
    taps = {"x": x, **outputs_of(shown, x, provider)}
    values = outputs_of(copy, x, provider)
    assert len(found) == len(wanted_of(index)) == 5
    for use, outputs in found:
        assert isinstance(outputs, GramOutputs)
        observations = use.observations(taps[use.input]).astype(np.float64)
        expected = observations.transpose(0, 2, 1) @ observations
        matrix, _, count = outputs.read(values)
        assert count == observations.shape[1]
        assert np.abs(matrix - expected).max() <= SINGLE * np.abs(expected).max()


def test_batch_and_image_may_change_between_runs(provider: str) -> None:
    case = conv(auto_pad="SAME_LOWER", strides=[2, 3])
    for shape in ((1, 4, 5, 8), (6, 4, 9, 3)):
        check(case.proto, shape, provider)


def test_half_precision_is_multiplied_in_float32(provider: str) -> None:
    weights = {"w": normal(9, 9, 7, dtype=np.float16)}
    check(one_node("Gemm", weights, elem_type=TensorProto.FLOAT16), (30, 9), provider, np.float16)


def test_large_means_cost_no_precision(provider: str) -> None:
    case = conv(pads=[0] * 4)
    x = normal(1, 3, 4, 9, 8) + 1000
    copy, ((use, outputs),) = extended(case.proto)
    assert isinstance(outputs, GramOutputs)
    gram = Gram(1, 24)
    gram.matrix, gram.total, gram.count = outputs.read(outputs_of(copy, x, provider))
    observations = use.observations(x).astype(np.float64)
    observations -= observations.mean(axis=1, keepdims=True)
    expected = observations.transpose(0, 2, 1) @ observations
    assert np.abs(gram.scatter(True) - expected).max() <= CENTRED * expected.max()


def test_layers_with_one_tap_share_their_sums_and_names_are_new() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["gram__0"], name="gram__1"),
        helper.make_node("Gemm", ["gram__0", "w"], ["a"]),
        helper.make_node("Gemm", ["gram__0", "v"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    weights = {"w": normal(1, 9, 7), "v": normal(2, 9, 7)}
    copy, found = extended(model(nodes, [value("x", [None, 9])], ["y"], weights))
    assert found[0][1] == found[1][1]
    assert len(copy.graph.output) == 4
    names = [name for node in copy.graph.node for name in node.output]
    assert len(names) == len(set(names))


def test_outputs_that_are_there_stay() -> None:
    case = gemm(0, 0, False)
    index, copy = Model(case.proto, None), onnx.ModelProto()
    copy.CopyFrom(case.proto)
    found = add_gram_outputs(copy.graph, index, wanted_of(index))
    (outputs,) = found.values()
    assert isinstance(outputs, GramOutputs)
    assert [out.name for out in copy.graph.output] == ["y", *outputs.names]


def test_taps_in_branches_are_left_to_numpy() -> None:
    then = branch([helper.make_node("Gemm", ["x", "w"], ["t"])], "t", w=normal(1, 9, 9))
    other = branch([helper.make_node("Identity", ["x"], ["e"])], "e")
    nodes = [
        constant("yes", np.array(True)),
        helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=other),
    ]
    copy, ((_, reason),) = extended(model(nodes, [value("x", [4, 9])], [value("y", [4, 9])]))
    assert reason == "it is inside a branch"
    assert len(copy.graph.node) == 2


@pytest.mark.parametrize(
    ("opset", "ir_version", "reason"),
    [
        (6, 4, "opset 6 is below 7"),
        (8, 3, "IR version 3 is below 4; use the execution copy"),
    ],
)
def test_old_formats_are_left_to_numpy(opset: int, ir_version: int, reason: str) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    weights = {"w": normal(1, 4, 4, 3)}
    proto = model(
        nodes, [value("x", [2, 4, 9])], ["y"], weights, opset=opset, ir_version=ir_version
    )
    assert extended(proto)[1][0][1] == reason


def test_products_whose_rank_is_not_known_are_left_to_numpy() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "n"], ["h"]),
        helper.make_node("MatMul", ["w", "h"], ["y"]),
    ]
    inputs = [value("x", [None]), value("n", [None], TensorProto.INT64)]
    proto = model(nodes, inputs, [value("y", [None, None])], {"w": normal(1, 7, 9)})
    assert extended(proto)[1][0][1] == "the rank of its input 'h' is not known"


def test_declared_ranks_do_where_a_model_is_too_large_to_infer(
    monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    monkeypatch.setattr("onnx_lobs.calibration.gram_nodes.MAX_PROTO_BYTES", 0)
    case = matmul((7, 9), (2, 9, 20), True)
    check(case.proto, case.shape, provider)
