"""New values go where the old ones were, in the stored type, and nothing else moves."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from build_onnx import constant, model, normal, one_node, run, value
from onnx import ModelProto, TensorProto, helper

from onnx_lobs.errors import SolverError
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import find_layers
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layers.write import add_biases, round_weight, write_bias, write_weight

NODE = helper.make_node
X = normal(1, 5, 4)
W = normal(2, 4, 3)


def layer_of(proto: ModelProto) -> Layer:
    return find_layers(Model(proto, None))[0][0]


def copy_of(proto: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(proto)
    return copy


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_weights_are_rounded_to_the_stored_type_and_zeros_stay_zero(dtype: type) -> None:
    elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    layer = layer_of(one_node("MatMul", {"w": W.astype(dtype)}, elem_type=elem_type))
    matrix = normal(3, 1, 3, 4, dtype=np.float64)
    matrix[0, :, 1] = 0
    stored = round_weight(layer, matrix)
    assert stored.dtype == dtype
    assert np.array_equal(layer.matrix(stored), matrix.astype(dtype).astype(np.float64))
    assert not layer.matrix(stored)[0, :, 1].any()


@pytest.mark.parametrize(
    ("dtype", "large"), [(np.float16, 1e5), (np.float32, 1e39), (np.float64, np.inf)]
)
def test_weight_that_does_not_fit_is_an_error(dtype: type, large: float) -> None:
    elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    layer = layer_of(one_node("MatMul", {"w": W.astype(dtype)}, elem_type=elem_type))
    with pytest.raises(SolverError, match=f"does not fit {np.dtype(dtype).name}; use more damping"):
        round_weight(layer, np.full((1, 3, 4), large))


def test_bias_that_does_not_fit_is_an_error() -> None:
    weights = {"w": W.astype(np.float16), "b": np.zeros(3, np.float16)}
    proto = one_node("Gemm", weights, ["x", "w", "b"], elem_type=TensorProto.FLOAT16)
    layer = layer_of(proto)
    with pytest.raises(SolverError, match=r"weight or bias .* does not fit float16"):
        write_bias(Model(proto, None), layer.uses[0], layer, np.full((1, 3), 1e5))


def chained() -> ModelProto:
    nodes = [
        NODE("Cast", ["w"], ["a"], to=TensorProto.FLOAT),
        NODE("Transpose", ["a"], ["b"]),
        NODE("Reshape", ["b", "n"], ["v"]),
        NODE("Gemm", ["x", "v"], ["y"], transB=1, name="node"),
    ]
    weights = {"w": normal(2, 2, 6, dtype=np.float16), "n": np.array([3, 4])}
    return model(nodes, [value("x", [5, 4])], ["y"], weights)


def test_matrix_written_behind_a_chain_is_what_the_node_multiplies_by() -> None:
    proto = chained()
    layer = layer_of(proto)
    matrix = normal(3, 1, 3, 4).astype(np.float16).astype(np.float64)
    write_weight(Model(proto, None), layer, round_weight(layer, matrix))
    expected = X @ matrix[0].T.astype(np.float32)
    np.testing.assert_allclose(run(proto, x=X)["y"], expected, rtol=1e-5, atol=1e-5)  # float32


def test_writing_the_same_values_changes_no_byte() -> None:
    proto = chained()
    before = proto.SerializeToString()
    index = Model(proto, None)
    layer = layer_of(proto)
    tensor = index.constant(index.main, "w")
    assert tensor is not None
    write_weight(index, layer, round_weight(layer, layer.matrix(index.value(tensor))))
    assert proto.SerializeToString() == before


def test_weight_in_a_constant_node_changes_there() -> None:
    nodes = [constant("w", W), NODE("MatMul", ["x", "w"], ["y"])]
    proto = model(nodes, [value("x", [5, 4])], ["y"])
    layer = layer_of(proto)
    write_weight(Model(proto, None), layer, np.zeros_like(W))
    assert [node.op_type for node in proto.graph.node] == ["Constant", "MatMul"]
    assert not run(proto, x=X)["y"].any()


def test_copies_may_store_a_weight_in_another_type() -> None:
    """The execution copy of a bfloat16 model holds float32."""
    layer = layer_of(one_node("MatMul", {"w": W}))
    stored = W.astype(ml_dtypes.bfloat16)
    proto = one_node("MatMul", {"w": W})
    write_weight(Model(proto, None), layer, stored)
    assert np.array_equal(run(proto, x=X)["y"], X @ stored.astype(np.float32))


def test_added_biases_change_no_result() -> None:
    nodes = [
        NODE("Gemm", ["x", "w"], ["a"]),
        NODE("Gemm", ["x", "w2", "b"], ["c"]),
        NODE("Gemm", ["x", "w3", "b"], ["d"]),
        NODE("Sum", ["a", "c", "d"], ["y"]),
    ]
    weights = {"w": W, "w2": W + 1, "w3": W - 1, "b": normal(4, 3)}
    proto = model(nodes, [value("x", [5, 4])], ["y"], weights)
    changed = copy_of(proto)
    add_biases(Model(changed, None), find_layers(Model(proto, None))[0])
    onnx.checker.check_model(changed)
    assert [list(node.input) for node in changed.graph.node[:3]] == [
        ["x", "w", "a_bias"], ["x", "w2", "c_bias"], ["x", "w3", "d_bias"],
    ]  # fmt: skip
    assert np.array_equal(run(changed, x=X)["y"], run(proto, x=X)["y"])


def test_optional_input_left_empty_takes_the_new_bias() -> None:
    proto = one_node("Conv", {"w": normal(1, 3, 4, 2)}, ["x", "w", ""], rank=3)
    layer = layer_of(proto)
    write_bias(Model(proto, None), layer.uses[0], layer, np.ones((1, 3)))
    assert list(proto.graph.node[0].input) == ["x", "w", "y_bias"]
