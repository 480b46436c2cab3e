"""The value in front of a final activation, against what onnxruntime and NumPy make of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from build_onnx import Array, branch, constant, model, normal, run, value
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto
from onnx.helper import make_node

from onnx_lobs.evaluation.final_activation import (
    RULED_OUT,
    centred,
    common_finals,
    final_activations,
)
from onnx_lobs.evaluation.judged_network import JudgedNetwork, open_judged
from onnx_lobs.graph.model import Model

CPU = "CPUExecutionProvider"
ROUNDED = 1e-5  # of logits of size 1 in float32, through exp and log


def network(
    *behind: NodeProto, out: str | ValueInfoProto = "y", opset: int = 17, **weights: Array
) -> ModelProto:
    """A product `z` of x (n, 4) and a weight, in the shape (n, 4, 3), and what follows."""
    shape = np.array([-1, 4, 3], np.int64)
    product = [
        make_node("MatMul", ["x", "w"], ["flat"]),
        make_node("Reshape", ["flat", "shape"], ["z"]),
    ]
    return model(
        [*product, *behind], [value("x", ["n", 4])], [out],
        {"w": normal(1, 4, 12), "shape": shape, **weights}, opset=opset,
    )  # fmt: skip


def opened(proto: ModelProto) -> JudgedNetwork:
    index = Model(proto, None)
    return open_judged(index, final_activations(index), provider=CPU, limit=1 << 30)


SOFTMAX = make_node("Softmax", ["z"], ["p"])
SHAPE = np.array([-1, 12], np.int64)
FORMS: dict[str, tuple[list[NodeProto], dict[str, Array]]] = {
    "identity": ([make_node("Identity", ["p"], ["y"])], {}),
    "cast": ([make_node("Cast", ["p"], ["y"], to=TensorProto.FLOAT)], {}),
    "reshape": ([make_node("Reshape", ["p", "s"], ["y"])], {"s": SHAPE}),
    "flatten": ([make_node("Flatten", ["p"], ["y"])], {}),
    "transpose": ([make_node("Transpose", ["p"], ["y"], perm=[0, 2, 1])], {}),
    "reversed": ([make_node("Transpose", ["p"], ["y"])], {}),
    "turn, regroup": (
        [make_node("Transpose", ["p"], ["t"], perm=[2, 0, 1]), make_node("Flatten", ["t"], ["y"])],
        {},
    ),
    "regroup, turn": (
        [make_node("Unsqueeze", ["p", "a"], ["t"]),
         make_node("Transpose", ["t"], ["u"], perm=[3, 0, 1, 2]),
         make_node("Transpose", ["u"], ["y"])],
        {"a": np.array([1], np.int64)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_softmax_of_the_judged_value_is_the_output(form: str) -> None:
    """In the output's own form: its logarithm differs by what is the same in a row of classes."""
    nodes, weights = FORMS[form]
    x = normal(2, 5, 4)
    outputs, judged = opened(network(SOFTMAX, *nodes, **weights)).run_both({"x": x})
    assert judged["y"].shape == outputs["y"].shape
    plain = network(SOFTMAX, out="p")
    z = (x @ onnx.numpy_helper.to_array(plain.graph.initializer[0])).reshape(5, 4, 3)
    rest = model(nodes, [value("p", ["n", 4, 3])], ["y"], weights)
    expected = run(rest, p=z - z.mean(-1, keepdims=True))["y"]
    np.testing.assert_allclose(judged["y"], expected, atol=ROUNDED)
    assert list(outputs) == ["y"]


@pytest.mark.parametrize(
    ("opset", "attributes", "axes"),
    [(17, {}, (2,)), (17, {"axis": 1}, (1,)), (13, {"axis": -2}, (1,)),
     (11, {}, (1, 2)), (11, {"axis": 2}, (2,)), (11, {"axis": -1}, (2,))],
)  # fmt: skip
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_classes_stand_where_the_opset_has_them(
    op: str, opset: int, attributes: dict[str, int], axes: tuple[int, ...]
) -> None:
    proto = network(make_node(op, ["z"], ["y"], **attributes), opset=opset)
    outputs, judged = opened(proto).run_both({"x": normal(2, 5, 4)})
    logs = outputs["y"] if op == "LogSoftmax" else np.log(outputs["y"])
    expected = logs - logs.mean(axes, keepdims=True)
    np.testing.assert_allclose(judged["y"], expected, atol=ROUNDED)


def test_a_sigmoid_is_judged_by_its_input() -> None:
    proto = network(make_node("Sigmoid", ["z"], ["y"]))
    outputs, judged = opened(proto).run_both({"x": normal(2, 5, 4)})
    np.testing.assert_allclose(outputs["y"], 1 / (1 + np.exp(-judged["y"])), atol=ROUNDED)


@pytest.mark.parametrize("form", ["plain", "expanded"])
def test_a_softmax_that_is_written_out_is_one(form: str) -> None:
    nodes = [
        make_node("Exp", ["z"], ["e"]),
        make_node("ReduceSum", ["e", "a"], ["s"], keepdims=1),
        make_node("Expand" if form == "expanded" else "Identity",
                  ["s", "to"] if form == "expanded" else ["s"], ["d"]),
        make_node("Div", ["e", "d"], ["y"]),
    ]  # fmt: skip
    weights = {"a": np.array([2], np.int64), "to": np.array([5, 4, 3], np.int64)}
    proto = network(*nodes, **weights)
    outputs, judged = opened(proto).run_both({"x": normal(2, 5, 4)})
    logs = np.log(outputs["y"])
    np.testing.assert_allclose(judged["y"], logs - logs.mean(2, keepdims=True), atol=ROUNDED)


SUM = make_node("ReduceSum", ["e", "a"], ["s"], keepdims=1)
OTHERS: dict[str, tuple[list[NodeProto], dict[str, Array]]] = {
    "a sum behind it": (
        [SOFTMAX, make_node("Add", ["p", "z"], ["y"])], {}),
    "classes cast to integers": (
        [SOFTMAX, make_node("Cast", ["p"], ["y"], to=TensorProto.INT64)], {}),
    "regrouped, turned, regrouped": (
        [SOFTMAX, make_node("Reshape", ["p", "s"], ["q"]), make_node("Transpose", ["q"], ["t"]),
         make_node("Flatten", ["t"], ["y"])], {"s": SHAPE}),
    "exponentials over another sum": (
        [make_node("Exp", ["z"], ["e"]), make_node("Exp", ["e"], ["f"]), SUM,
         make_node("Div", ["f", "s"], ["y"])], {"a": np.array([2], np.int64)}),
    "exponentials over the sum of two axes": (
        [make_node("Exp", ["z"], ["e"]), SUM, make_node("Div", ["e", "s"], ["y"])],
        {"a": np.array([1, 2], np.int64)}),
    "a quotient": ([make_node("Div", ["z", "z"], ["y"])], {}),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERS)
def test_other_outputs_are_judged_as_they_are(what: str) -> None:
    nodes, weights = OTHERS[what]
    out = value("y", ["n", 4, 3], TensorProto.INT64) if "integers" in what else "y"
    proto = network(*nodes, out=out, **weights)
    assert final_activations(Model(proto, None)) == ()
    network_of = opened(proto)
    assert network_of.in_front is network_of
    outputs, judged = network_of.run_both({"x": normal(2, 5, 4)})
    assert outputs["y"] is judged["y"]


def test_a_softmax_of_constants_or_in_a_branch_is_judged_as_it_is() -> None:
    fixed = [constant("c", normal(1, 2, 3)), make_node("Softmax", ["c"], ["y"])]
    kept = [make_node("Identity", ["x"], ["z"])]
    proto = model([*fixed, *kept], [value("x", ["n", 4])], ["y", "z"])
    assert final_activations(Model(proto, None)) == ()
    both = {f"{which}_branch": branch([make_node("Softmax", ["x"], [which])], which)
            for which in ("then", "else")}  # fmt: skip
    condition = constant("c", np.array(True))
    proto = model([condition, make_node("If", ["c"], ["y"], **both)], [value("x", ["n", 4])], ["y"])
    assert final_activations(Model(proto, None)) == ()


def test_scores_and_probabilities_as_two_outputs_are_both_given() -> None:
    """What goes into the activation is no addition where it is an output itself."""
    nodes = [make_node("MatMul", ["x", "w"], ["z"]), make_node("Softmax", ["z"], ["p"]),
             make_node("ArgMax", ["p"], ["label"], axis=1)]  # fmt: skip
    label = value("label", ["n", 1], TensorProto.INT64)
    proto = model(nodes, [value("x", ["n", 4])], [label, "z", "p"], {"w": normal(1, 4, 3)})
    x = normal(2, 5, 4)
    outputs, judged = opened(proto).run_both({"x": x})
    assert list(outputs) == list(judged) == ["label", "z", "p"]
    assert outputs["z"] is judged["z"]
    z = outputs["z"]
    np.testing.assert_allclose(judged["p"], z - z.mean(1, keepdims=True), atol=ROUNDED)
    assert list(opened(proto).run({"x": x}, ["p"])) == ["p"]
    assert list(opened(proto).in_front.run({"x": x}, ["p"])) == ["p"]


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_stages_show_the_same(limit: int) -> None:
    proto = network(SOFTMAX, make_node("Identity", ["p"], ["y"]))
    index, x = Model(proto, None), normal(2, 5, 4)
    shown = open_judged(index, final_activations(index), provider=CPU, limit=limit)
    whole = opened(proto).run_both({"x": x})
    for found, expected in zip(shown.run_both({"x": x}), whole, strict=True):
        np.testing.assert_allclose(found["y"], expected["y"], atol=ROUNDED)
    assert list(shown.run({"x": x})) == ["y"]


def test_half_precision_is_shown_in_its_own_type() -> None:
    half = model(
        [make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
         make_node("Softmax", ["h"], ["s"]), make_node("Cast", ["s"], ["y"], to=TensorProto.FLOAT)],
        [value("x", ["n", 4])], ["y"])  # fmt: skip
    x = normal(2, 5, 4)
    judged = opened(half).run_both({"x": x})[1]["y"]
    h = x.astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(judged, h - h.mean(1, keepdims=True), atol=ROUNDED)


def test_two_models_share_what_both_end_in() -> None:
    soft, hard = (network(make_node(op, ["z"], ["y"])) for op in ("Softmax", "Tanh"))
    renamed = network(
        make_node("Identity", ["z"], ["other"]), make_node("Softmax", ["other"], ["y"])
    )
    one, other = common_finals(Model(soft, None), Model(renamed, None))
    assert [final.value for final in (*one, *other)] == ["z", "other"]
    assert common_finals(Model(soft, None), Model(hard, None)) == ((), ())


WAYS: dict[str, Callable[[], float]] = {
    "minus infinity": lambda: -np.inf,
    "float32's least": lambda: float(np.finfo(np.float32).min),
    "a large negative number": lambda: -2 * RULED_OUT,
}


@pytest.mark.parametrize("how", WAYS)
def test_classes_that_are_ruled_out_have_no_part(how: str) -> None:
    scores = normal(1, 6, 5)
    hidden = scores.copy()
    hidden[:, 3:] = WAYS[how]()
    found = centred(hidden, (1,))
    np.testing.assert_allclose(found[:, :3], centred(scores[:, :3], (1,)), atol=ROUNDED)
    assert not found[:, 3:].any()


def test_scores_without_a_value_have_none() -> None:
    scores = np.array([[1, np.nan, 0], [np.inf, 1, 0], [1, 2, 3]], np.float32)
    found = centred(scores, (1,))
    assert np.isnan(found).any(1).tolist() == [True, True, False]
    assert found[2].tolist() == [-1, 0, 1]


@pytest.mark.parametrize("n_classes", [2, 3, 50])
def test_scores_of_a_network_that_is_sure_of_everything_are_kept(n_classes: int) -> None:
    """They lie thousands apart; now and then a few of three are close, as if one were ruled out."""
    scores = 1e5 * normal(1, 400, n_classes)
    expected = scores - scores.mean(1, keepdims=True)
    is_kept = np.isclose(centred(scores, (1,)), expected, rtol=ROUNDED, atol=1).all(1)
    assert is_kept.mean() > 0.98
