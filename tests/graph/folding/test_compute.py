"""Constant values are computed as onnxruntime does, and quietly."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from build_onnx import model, normal, value
from onnx import ModelProto, NodeProto, TensorProto, helper

from onnx_lobs.arrays import Array
from onnx_lobs.errors import InferenceError
from onnx_lobs.graph.folding.compute import compute
from onnx_lobs.graph.folding.cone import ConstantPart
from onnx_lobs.graph.model import Model

NODE = helper.make_node


def with_constants(nodes: list[NodeProto], **weights: Array) -> ModelProto:
    sink = NODE("Identity", ["x"], ["y"])
    return model([*nodes, sink], [value("x", [1])], ["y"], weights)


def test_a_value_that_others_are_computed_from_is_computed_too() -> None:
    nodes = [NODE("Neg", ["w"], ["a"]), NODE("Abs", ["a"], ["b"])]
    stored = normal(1, 5)
    part = ConstantPart(Model(with_constants(nodes, w=stored), None))
    found = compute(part, [(0, "a"), (0, "b")])
    assert np.array_equal(found[0, "a"], -stored)
    assert np.array_equal(found[0, "b"], np.abs(stored))


def test_tensors_of_any_size_are_computed_without_a_word(
    capfd: pytest.CaptureFixture[str],
) -> None:
    stored = normal(1, 600, 600)  # over a MiB, where graphsurgeon has something to say
    part = ConstantPart(Model(with_constants([NODE("Neg", ["w"], ["a"])], w=stored), None))
    assert np.array_equal(compute(part, [(0, "a")])[0, "a"], -stored)
    assert capfd.readouterr() == ("", "")


def test_casts_around_integers_are_computed_as_they_stand() -> None:
    nodes = [
        NODE("Cast", ["w"], ["f"], to=TensorProto.FLOAT),
        NODE("Div", ["f", "two"], ["q"]),
        NODE("Cast", ["q"], ["i"], to=TensorProto.INT64),
        NODE("Cast", ["i"], ["a"], to=TensorProto.FLOAT),
    ]
    stored = np.array([-7, 7, 5], np.int64)  # integers divided as such would round down
    proto = with_constants(nodes, w=stored, two=np.float32([2]))
    found = compute(ConstantPart(Model(proto, None)), [(0, "a")])
    assert np.array_equal(found[0, "a"], np.float32([-3, 3, 2]))


@pytest.mark.parametrize("op", ["Abs", "Mul"])
def test_bfloat16_is_rounded_once(op: str) -> None:
    stored = normal(1, 50, dtype=ml_dtypes.bfloat16)
    node = NODE(op, ["w"] if op == "Abs" else ["w", "w"], ["a"])
    found = compute(ConstantPart(Model(with_constants([node], w=stored), None)), [(0, "a")])
    wide = stored.astype(np.float32)
    expected = np.abs(wide) if op == "Abs" else wide * wide
    assert found[0, "a"].dtype == ml_dtypes.bfloat16
    assert np.array_equal(found[0, "a"], expected.astype(ml_dtypes.bfloat16))


def test_what_onnxruntime_cannot_compute_is_an_error_of_this_package(
    capfd: pytest.CaptureFixture[str],
) -> None:
    nodes = [NODE("Gather", ["w", "i"], ["a"])]
    proto = with_constants(nodes, w=normal(1, 3), i=np.array([99]))
    with pytest.raises(InferenceError, match=r"onnxruntime cannot compute them: .*indices"):
        compute(ConstantPart(Model(proto, None)), [(0, "a")])
    assert capfd.readouterr().out == ""


def test_sequences_on_the_way_are_refused() -> None:
    nodes = [
        NODE("SequenceConstruct", ["w", "v"], ["s"]),
        NODE("SequenceAt", ["s", "i"], ["a"]),
    ]
    weights = {"w": normal(1, 5), "v": normal(2, 5), "i": np.array(1)}
    part = ConstantPart(Model(with_constants(nodes, **weights), None))
    with pytest.raises(InferenceError, match=r"onnxruntime cannot compute them"):
        compute(part, [(0, "a")])


@pytest.mark.parametrize("sizes", [[2**20, 2**20], [2**62, 2]])
def test_values_that_a_few_bytes_make_endless_are_refused(sizes: list[int]) -> None:
    nodes = [NODE("Expand", ["w", "n"], ["e"]), NODE("ReduceSum", ["e"], ["a"], keepdims=0)]
    part = ConstantPart(Model(with_constants(nodes, w=normal(1, 1, 1), n=np.array(sizes)), None))
    with pytest.raises(InferenceError, match=r"'e' of shape .* would take more than 2147483648"):
        compute(part, [(0, "a")])
