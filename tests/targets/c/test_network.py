"""Models as lists of nodes for one sample: weights in files beside them, graphs within nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from build_onnx import model, normal, value
from onnx import TensorProto, helper

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.load import LoadedModel, load_model
from onnx_lobs.targets.c.network import read_network

WEIGHT = normal(1, 40, 300)


def with_external_data(folder: Path) -> LoadedModel:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="the MatMul")
    proto = model([node], [value("x", (1, 40))], ["y"], {"w": WEIGHT}, opset=17)
    path = folder / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="data.bin", size_threshold=0)
    return load_model(path)


def test_weights_in_a_file_beside_the_model_are_read(tmp_path: Path) -> None:
    loaded = with_external_data(tmp_path)
    made = read_network(loaded, {})
    assert np.array_equal(made.constants["w"], WEIGHT)
    assert loaded.proto.graph.initializer[0].data_location == TensorProto.EXTERNAL


def test_weights_of_more_than_a_message_holds_are_refused(tmp_path: Path) -> None:
    loaded = with_external_data(tmp_path)
    loaded.proto.graph.initializer[0].dims[:] = [40, 2**24]
    with pytest.raises(ModelError, match="weights take 2,684,354,560 bytes, at most 2,1"):
        read_network(loaded, {})


def test_a_node_with_a_graph_of_its_own_is_named() -> None:
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("Exp", "Abs")]
    branches = [
        helper.make_graph([helper.make_node(end.name, ["x"], [end.name])], "branch", [], [end])
        for end in ends
    ]
    flag = helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0)
    cast = helper.make_node("Cast", ["m"], ["f"], to=TensorProto.BOOL)
    choice = helper.make_node(
        "If", ["f"], ["y"], name="the If", then_branch=branches[0], else_branch=branches[1]
    )
    proto = model([flag, cast, choice], [value("x", (1, 4))], ["y"], opset=17)
    with pytest.raises(ModelError, match="If 'the If' has no C code: it runs a graph of its own"):
        read_network(load_model(proto), {})
