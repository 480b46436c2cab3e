"""Output error and top-1 against plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_lobs.errors import DataError
from onnx_lobs.evaluation.output import output_error, top1
from onnx_lobs.graph.session import Session

Array = np.ndarray[Any, np.dtype[Any]]


def _linear(weight: Array, tail: tuple[onnx.NodeProto, ...] = (), out: str = "y") -> Session:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), *tail],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", weight.shape[0]])],
        [onnx.ValueInfoProto(name=out)],
        [numpy_helper.from_array(weight, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Session(proto)


def _batches(*sizes: int) -> list[dict[str, Array]]:
    rng = np.random.default_rng(0)
    return [{"x": rng.standard_normal((n, 3)).astype(np.float32)} for n in sizes]


def test_output_error_is_squared_change_over_squared_output() -> None:
    rng = np.random.default_rng(1)
    w1 = rng.standard_normal((3, 4)).astype(np.float32)
    w2 = w1 + 0.1 * rng.standard_normal((3, 4)).astype(np.float32)
    batches = _batches(5, 2)
    x = np.concatenate([batch["x"] for batch in batches]).astype(np.float64)
    expected = np.square(x @ (w2 - w1)).sum() / np.square(x @ w1).sum()
    # float32 products of three terms
    assert output_error(_linear(w1), _linear(w2), batches) == pytest.approx(expected, rel=1e-5)


def test_the_same_model_has_output_error_zero() -> None:
    w = np.ones((3, 2), np.float32)
    assert output_error(_linear(w), _linear(w), _batches(3)) == 0.0


def test_a_model_without_floating_outputs_has_no_output_error() -> None:
    tail = (helper.make_node("ArgMax", ["y"], ["z"], axis=1),)
    session = _linear(np.ones((3, 2), np.float32), tail, "z")
    assert output_error(session, session, _batches(3)) is None


def test_top1_counts_the_largest_score() -> None:
    session = _linear(np.eye(3, dtype=np.float32))
    batches = _batches(4, 3)
    labels = np.concatenate([batch["x"].argmax(axis=1) for batch in batches])
    labels[0] = (labels[0] + 1) % 3
    assert top1(session, batches, labels) == pytest.approx(6 / 7)


def test_scores_with_trailing_ones_are_scores() -> None:
    shape = helper.make_node("Constant", [], ["s"], value_ints=[-1, 3, 1, 1])
    tail = (shape, helper.make_node("Reshape", ["y", "s"], ["z"]))
    session = _linear(np.eye(3, dtype=np.float32), tail, "z")
    batches = _batches(4)
    assert top1(session, batches, batches[0]["x"].argmax(axis=1)) == 1.0


def test_labels_of_another_number_are_refused() -> None:
    session = _linear(np.eye(3, dtype=np.float32))
    with pytest.raises(DataError, match="2 labels, but the model gave 4 scores"):
        top1(session, _batches(4), np.zeros(2, np.int64))


def test_a_model_without_scores_is_refused() -> None:
    tail = (helper.make_node("ArgMax", ["y"], ["z"], axis=1),)
    session = _linear(np.ones((3, 2), np.float32), tail, "z")
    with pytest.raises(DataError, match=r"no output of shape \(samples, classes\)"):
        top1(session, _batches(4), np.zeros(4, np.int64))
