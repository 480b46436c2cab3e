"""The execution copy computes what the model computes, in a form that is easy to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from build_onnx import branch, constant, model, normal, one_node, run, value
from onnx import TensorProto, helper

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.graph.session import Session

NODE = helper.make_node
CPU = "CPUExecutionProvider"
X = normal(2, 5, 4)
FLOAT32 = 1e-5  # float64 weights and inputs rounded to float32, sums of 12 terms
BRAIN = 2e-2  # bfloat16 has 8 bits


def test_constants_become_initializers_in_every_scope() -> None:
    deep = branch([constant("k", normal(1, 4, 4)), NODE("MatMul", ["h", "k"], ["t"])], "t")
    plain = branch([NODE("Identity", ["h"], ["e"])], "e")
    inner = NODE("If", ["c"], ["i"], then_branch=deep, else_branch=plain)
    nodes = [
        constant("c", np.array(True)),
        constant("b", normal(3, 4)),
        NODE("Add", ["x", "b"], ["h"]),
        NODE("If", ["c"], ["y"], then_branch=branch([inner], "i"), else_branch=plain),
    ]
    proto = model(nodes, [value("x", [5, 4])], [value("y", [5, 4])])
    before = proto.SerializeToString()
    found, note = to_executable(proto, None, CPU)
    assert note is None
    assert b"Constant" not in found.SerializeToString()
    assert np.array_equal(run(found, x=X)["y"], run(proto, x=X)["y"])
    assert proto.SerializeToString() == before


def test_constant_that_is_an_output_stays_a_node() -> None:
    nodes = [constant("k", normal(1, 4)), NODE("Add", ["x", "k"], ["y"])]
    proto = model(nodes, [value("x", [5, 4])], ["y", "k"])
    found, _ = to_executable(proto, None, CPU)
    assert [node.op_type for node in found.graph.node] == ["Constant", "Add"]


def test_initializers_of_old_models_are_no_inputs() -> None:
    nodes = [NODE("MatMul", ["x", "w"], ["y"])]
    proto = model(nodes, [value("x", [5, 4])], ["y"], {"w": normal(1, 4, 3)}, ir_version=3)
    found, _ = to_executable(proto, None, CPU)
    assert [i.name for i in found.graph.input] == ["x"]
    assert np.array_equal(run(found, x=X)["y"], run(proto, x=X)["y"])


def test_overridable_initializers_of_newer_models_stay_inputs() -> None:
    inputs = [value("x", [5, 4]), value("w", [4, 3])]
    proto = model([NODE("MatMul", ["x", "w"], ["y"])], inputs, ["y"], {"w": normal(1, 4, 3)})
    found, _ = to_executable(proto, None, CPU)
    assert [i.name for i in found.graph.input] == ["x", "w"]


@pytest.mark.parametrize(
    ("dtype", "word", "tolerance"),
    [(np.float64, "double", FLOAT32), (ml_dtypes.bfloat16, "bfloat16", BRAIN)],
)
def test_types_without_kernels_run_in_float32(dtype: Any, word: str, tolerance: float) -> None:
    w, x = normal(1, 3, 4, 3).astype(dtype), normal(2, 2, 4, 8).astype(dtype)
    elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        constant("w", w),
        NODE("Conv", ["x", "w"], ["a"]),
        NODE("Cast", ["a"], ["b"], to=elem_type),
        NODE("Relu", ["b"], ["y"]),
    ]
    out = value("y", [2, 3, 6], elem_type)
    proto = model(nodes, [value("x", [2, 4, 8], elem_type)], [out], opset=22, ir_version=10)
    found, note = to_executable(proto, None, CPU)
    assert note is not None
    assert f"run in float32: onnxruntime cannot run {word} here" in note
    onnx.checker.check_model(found)
    wide = [NODE("Conv", ["x", "w"], ["a"]), NODE("Relu", ["a"], ["y"])]
    same = model(wide, [value("x", [2, 4, 8])], ["y"], {"w": w.astype(np.float32)})
    expected = run(same, x=x.astype(np.float32))["y"]
    np.testing.assert_allclose(Session(found).run({"x": x})["y"], expected, atol=tolerance)


def test_double_models_that_run_stay_double() -> None:
    weights = {"w": normal(1, 4, 3, dtype=np.float64)}
    found, note = to_executable(
        one_node("MatMul", weights, elem_type=TensorProto.DOUBLE), None, CPU
    )
    assert note is None
    assert found.graph.initializer[0].data_type == TensorProto.DOUBLE


def test_external_data_stay_outside_and_run(tmp_path: Path) -> None:
    proto = one_node("MatMul", {"w": normal(1, 4, 3)})
    expected = run(proto, x=X)["y"]
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    loaded = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    found, _ = to_executable(loaded, tmp_path, CPU)
    assert not found.graph.initializer[0].raw_data
    assert np.array_equal(Session(found, folder=tmp_path).run({"x": X})["y"], expected)


def test_model_that_cannot_run_in_any_type_is_an_error() -> None:
    proto = one_node("Relu", {}, ["x"])
    proto.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ModelError, match="NoSuchOperator"):
        to_executable(proto, None, CPU)
