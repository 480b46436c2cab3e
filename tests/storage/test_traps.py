"""What other programs stumble over is never written, or the report warns of it.

Covered elsewhere: -0.0, sorted indices, weights that are inputs, int4, Constant nodes and branches,
external data in test_sparse; old operator sets and IR versions, bfloat16, the 1 GiB that are folded
in test_packed; kernels that want more zeros in tests/targets.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from build_onnx import branch, constant, model, normal, one_node, run, value
from onnx import ModelProto, TensorProto, helper

from onnx_lobs import PruneConfig
from onnx_lobs.arrays import Array
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.walk import iter_graphs
from onnx_lobs.storage.formats import FORMATS
from onnx_lobs.verbs.prune import prune_file

X = normal(9, 3, 64)
# standard operators that onnxruntime folds, OpenVINO and MNN's converter know; NonZero is not
# folded, BitShift and uint4 are not known or read wrongly
UNPACKING = {
    "Gather", "Cast", "Reshape", "Slice", "CumSum", "Mul", "ConstantOfShape", "ScatterElements",
    "Floor", "Sub", "MatMul", "Concat",
}  # fmt: skip
MEASURED = Path(__file__).parents[2] / "tools" / "results" / "readers.md"
# words of the hints, by the programs that were measured
WORDS = {
    "onnxruntime, model saved again and checked": "saves",
    "onnxruntime `quantize_static`": "quantisers",
    "onnxruntime `quantize_dynamic`": "quantisers",
    "onnxruntime float16 converter": "float16 converter",
    "onnxruntime symbolic shape inference": "shape inference",
    "onnx.checker, `full_check`": "full_check",
    "onnx shape inference": "shape inference",
    "onnx shape inference, strict": "shape inference",
    "onnx reference evaluator": "reference evaluator",
    "onnx version converter": "version converter",
    "onnx `extract_model`": "extract_model",
    "onnx-graphsurgeon, folding": "onnx-graphsurgeon",
    "onnx-graphsurgeon `.values`": "onnx-graphsurgeon",
    "onnx_ir, in and out": "onnx_ir",
    "onnxoptimizer": "onnxoptimizer",
    "onnxsim": "onnxsim",
    "onnxslim": "onnxslim",
    "OpenVINO": "OpenVINO",
    "MNN": "MNN",
}


def sparse_array(sparsity: float, shape: tuple[int, ...] = (64, 96)) -> Array:
    rng = np.random.default_rng(0)
    found = rng.standard_normal(shape).astype(np.float32)
    found[rng.random(shape) < sparsity] = 0
    return found


def every_form() -> ModelProto:
    """Weights for a bitmask, gaps and seven bits."""
    small = np.random.default_rng(0).integers(-64, 64, (96, 64)).astype(np.int8)
    nodes = [
        helper.make_node("MatMul", ["x", "bits"], ["a"]),
        helper.make_node("MatMul", ["a", "gaps"], ["b"]),
        helper.make_node("Cast", ["seven"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["b", "wide"], ["y"]),
    ]
    weights = {"bits": sparse_array(0.6), "gaps": sparse_array(0.95, (96, 96)), "seven": small}
    return model(nodes, [value("x", [None, 64])], ["y"], weights, opset=13)


def within_a_branch() -> ModelProto:
    """A weight of the main graph that a branch reads."""
    then = branch([helper.make_node("MatMul", ["x", "w"], ["b"])], "b")
    other = branch([helper.make_node("MatMul", ["x", "v"], ["b"])], "b")
    nodes = [
        constant("yes", np.array(True)),
        helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=other),
    ]
    weights = {"w": sparse_array(0.9), "v": sparse_array(0.9)}
    return model(nodes, [value("x", [None, 64])], ["y"], weights, opset=13)


def test_only_operators_that_every_reader_folds_unpack() -> None:
    proto = every_form()
    wanted = run(proto, x=X)["y"]
    assert set(FORMATS["packed"].encode(proto, ["bits", "gaps", "seven"], None)) == {
        "bits", "gaps", "seven",
    }  # fmt: skip
    assert {node.op_type for node in proto.graph.node} <= UNPACKING
    assert not proto.functions
    assert {node.domain for node in proto.graph.node} == {""}
    assert run(proto, x=X)["y"].tobytes() == wanted.tobytes()


@pytest.mark.parametrize("level", ["ORT_ENABLE_BASIC", "ORT_ENABLE_ALL"])
def test_nothing_of_the_unpacking_is_left_for_a_run(tmp_path: Path, level: str) -> None:
    proto = every_form()
    FORMATS["packed"].encode(proto, ["bits", "gaps", "seven"], None)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(tmp_path / "o.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(proto.SerializeToString(), options)
    assert [n.op_type for n in onnx.load(tmp_path / "o.onnx").graph.node] == ["MatMul"] * 3


@pytest.mark.parametrize("form", ["sparse", "packed"])
def test_a_branch_reads_a_weight_of_the_main_graph(form: str) -> None:
    proto = within_a_branch()
    wanted = run(proto, x=X)["y"]
    assert set(FORMATS[form].encode(proto, ["w", "v"], None)) == {"w", "v"}
    assert run(proto, x=X)["y"].tobytes() == wanted.tobytes()


@pytest.mark.parametrize(("opset", "ir_version"), [(9, 4), (13, 7), (21, 10), (23, 11)])
def test_onnxruntime_reads_sparse_weights_of_many_operator_sets(
    opset: int, ir_version: int
) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    inputs = [value("x", [None, 64])]
    weights = {"w": sparse_array(0.9)}
    proto = model(nodes, inputs, ["y"], weights, opset=opset, ir_version=ir_version)
    wanted = run(proto, x=X)["y"]
    assert FORMATS["sparse"].encode(proto, ["w"], None) == ["w"]
    assert run(proto, x=X)["y"].tobytes() == wanted.tobytes()


def test_sparse_weights_have_linear_indices_in_no_constant_node_and_are_no_inputs() -> None:
    proto = within_a_branch()
    FORMATS["sparse"].encode(proto, ["w", "v"], None)
    for sparse in proto.graph.sparse_initializer:
        assert len(sparse.indices.dims) == 1
        assert list(sparse.values.dims) == list(sparse.indices.dims)
    names = {sparse.values.name for sparse in proto.graph.sparse_initializer}
    assert names == {"w", "v"}
    assert not names & {each.name for each in proto.graph.input}
    held = [node for graph in iter_graphs(proto) for node in graph.node]
    assert "sparse_value" not in {a.name for node in held for a in node.attribute}


def test_known_shapes_stay_in_a_sparse_file(tmp_path: Path) -> None:
    """Shape inference finds none behind sparse weights, so that those of before are kept."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["y"]),
    ]
    proto = model(nodes, [value("x", ["n", 64])], ["y"], {"w": normal(1, 64, 96)}, opset=17)
    proto = onnx.shape_inference.infer_shapes(proto)
    onnx.save(proto, tmp_path / "m.onnx")
    options = PruneConfig(sparsity=0.9, storage="sparse", method="magnitude", refit=False)
    prune_file(tmp_path / "m.onnx", tmp_path / "o.onnx", options, data={"x": X})
    written = onnx.load(tmp_path / "o.onnx")
    assert len(written.graph.sparse_initializer) == 1
    assert {each.name for each in written.graph.value_info} == {"h"}
    with pytest.raises(onnx.shape_inference.InferenceError):
        onnx.checker.check_model(written, full_check=True)
    assert "full_check" in FORMATS["sparse"].hint  # which every report of such a file shows


def test_what_onnxruntime_saves_of_a_sparse_file_is_refused_with_a_reason(tmp_path: Path) -> None:
    """It writes int32 indices, which ONNX does not allow."""
    proto = one_node("MatMul", {"w": sparse_array(0.9)})
    FORMATS["sparse"].encode(proto, ["w"], None)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "o.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(proto.SerializeToString(), options)
    with pytest.raises(ModelError, match=r"INT64|int64"):
        load_model(tmp_path / "o.onnx")


@pytest.mark.parametrize("form", ["sparse", "packed"])
def test_the_hint_names_every_program_that_does_not_keep_the_form(form: str) -> None:
    lines = [line for line in MEASURED.read_text().splitlines() if line.startswith("|")]
    heads, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    column, dense = heads.index(form), heads.index("dense")
    bad = [row[0] for row in rows if row[column] != "yes" and row[dense] == "yes"]
    assert len(bad) >= 5
    missing = [name for name in bad if WORDS[name] not in FORMATS[form].hint]
    assert not missing


def test_hints_tell_of_builds_and_memory() -> None:
    assert "with optimisation disabled it unpacks at every run" in FORMATS["packed"].hint
    assert "memory" in FORMATS["packed"].hint
    assert "memory" in FORMATS["sparse"].hint
    assert "built without sparse tensors" in FORMATS["sparse"].hint
