"""Functions that multiply are inlined, so that their weights are pruned; all others stay."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest
from build_onnx import branch, constant, model, normal, run, value
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper

import onnx_lobs
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.load import LoadedModel
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import find_layers
from onnx_lobs.layers.inline import inline_functions
from onnx_lobs.verbs.inspect import inspect

NODE = helper.make_node


def function(
    name: str, nodes: list[NodeProto], opset: int = 17, inputs: tuple[str, ...] = ("a",)
) -> FunctionProto:
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", opset)]
    return helper.make_function("own", name, list(inputs), ["c"], nodes, opsets)


def block(opset: int = 17) -> FunctionProto:
    """A function with a weight of its own, as exporters of JAX write them."""
    nodes = [
        constant("w", normal(1, 16, 16)), NODE("MatMul", ["a", "w"], ["b"], name="inner"),
        NODE("Tanh", ["b"], ["c"]),
    ]  # fmt: skip
    return function("Block", nodes, opset)


def calling(*functions: FunctionProto, calls: int = 1, opset: int = 17) -> ModelProto:
    """A model that calls the last function, `calls` times in a row."""
    names = ["x", *(f"h{i}" for i in range(1, calls)), "y"]
    nodes = [
        NODE(functions[-1].name, [a], [b], domain="own", name=f"call{i}")
        for i, (a, b) in enumerate(itertools.pairwise(names))
    ]
    return model(
        nodes, [value("x", ["n", 16])], [value("y", ["n", 16])], domains=["own"],
        functions=functions, opset=opset,
    )  # fmt: skip


def loaded(proto: ModelProto) -> LoadedModel:
    copy = ModelProto()
    copy.CopyFrom(proto)
    return LoadedModel(copy, None, None)


def prune(proto: ModelProto) -> onnx_lobs.PruneResult:
    return onnx_lobs.prune(proto, {"x": normal(2, 60, 16)}, sparsity=0.5)


@pytest.mark.parametrize("opset", [17, 13])
def test_weights_inside_a_function_are_pruned_whatever_its_operator_set(opset: int) -> None:
    result = prune(calling(block(opset)))
    (record,) = result.report.layers
    assert (record.weights, record.zeros) == (256, 128)
    assert "1 function was inlined" in result.report.warnings[0]
    assert result.model.functions == []
    onnx.checker.check_model(result.model)


def test_a_function_that_is_called_often_brings_its_weight_once_and_tied() -> None:
    proto = calling(block(), calls=3)
    result = prune(proto)
    (record,) = result.report.layers
    assert record.weights == 256
    assert sum(node.op_type == "Constant" for node in result.model.graph.node) == 1
    assert result.model.ByteSize() < proto.ByteSize() + 1000


def nested(place: str) -> ModelProto:
    if place == "function":
        outer = function("Outer", [NODE("Block", ["a"], ["c"], domain="own")])
        return calling(block(), outer)
    then = branch([NODE("Block", ["a"], ["t"], domain="own")], "t")
    other = branch([NODE("Identity", ["a"], ["e"])], "e")
    nodes = [
        constant("yes", np.array(True)),
        NODE("If", ["yes"], ["c"], then_branch=then, else_branch=other),
    ]
    return calling(block(), function("Outer", nodes))


@pytest.mark.parametrize("place", ["function", "branch"])
def test_functions_within_functions_and_branches_are_inlined(place: str) -> None:
    proto = nested(place)
    result = prune(proto)
    (record,) = result.report.layers
    assert (record.weights, record.zeros) == (256, 128)
    x = normal(3, 5, 16)
    assert np.abs(run(result.model, x=x)["y"] - run(proto, x=x)["y"]).max() > 0


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("place", ["plain", "function", "branch"])
def test_an_inlined_model_computes_the_same(place: str, calls: int) -> None:
    proto = calling(block(), calls=calls) if place == "plain" else nested(place)
    found = loaded(proto)
    assert inline_functions(found).functions
    x = normal(3, 5, 16)
    assert np.array_equal(run(found.proto, x=x)["y"], run(proto, x=x)["y"])


def test_functions_without_weights_stay_and_a_model_without_functions_is_not_touched() -> None:
    plain = function("Act", [NODE("Tanh", ["a"], ["c"])])
    proto = calling(plain)
    for one in (proto, model([NODE("Relu", ["x"], ["y"])], [value("x", [3])], [value("y", [3])])):
        found = loaded(one)
        assert inline_functions(found).functions == ()
        assert found.proto == one


def test_a_function_with_other_operators_is_skipped_with_that_reason() -> None:
    """onnx's checker refuses such a model, but not before it knows the operator."""
    nodes = [
        constant("w", normal(1, 16, 16)), NODE("MatMul", ["a", "w"], ["b"]),
        NODE("Gelu", ["b"], ["c"]),
    ]  # fmt: skip
    proto = calling(block(), calls=2)
    proto.functions.append(function("Closed", nodes, 20))
    proto.graph.node[1].op_type = "Closed"
    found = loaded(proto)
    inlining = inline_functions(found)
    assert inlining.functions == (("own", "Block"),)
    assert [f.name for f in found.proto.functions] == ["Closed"]
    layers, (skip,) = find_layers(Model(found.proto, None), refused=inlining.refused)
    assert len(layers) == 1
    assert skip.node == "call1"
    assert skip.reason == (
        "a function of the model that cannot be inlined: its operators are of opset 20, the "
        "model's of 17, which differ"
    )


def test_inspect_lists_what_is_pruned_and_the_file_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(calling(block(13)).SerializeToString())
    before = path.read_bytes()
    found = inspect(path)
    assert [row.weights for row in found.layers] == [256]
    assert found.skipped == ()
    assert "inlined" in found.warnings[0]
    assert path.read_bytes() == before


def test_small_constants_and_those_that_are_outputs_are_not_joined() -> None:
    nodes = [
        constant("w", normal(1, 16, 16)), constant("s", np.full((1,), 2.0, np.float32)),
        NODE("MatMul", ["a", "w"], ["b"]), NODE("Mul", ["b", "s"], ["c"]),
    ]  # fmt: skip
    found = loaded(calling(function("Block", nodes), calls=2))
    inline_functions(found)
    sizes = [
        node.attribute[0].t.dims[0] for node in found.proto.graph.node if node.op_type == "Constant"
    ]
    assert sorted(sizes) == [1, 1, 16]
    assert found.proto.graph.node[0].attribute[0].t.data_type == TensorProto.FLOAT


def test_what_onnx_cannot_inline_is_an_error_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr("onnx.inliner.inline_selected_functions", fail)
    with pytest.raises(ModelError, match="onnx cannot inline the model's functions: no such luck"):
        inline_functions(loaded(calling(block())))
