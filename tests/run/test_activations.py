"""A network that computes in int8 keeps the int8 numbers that a run chose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from build_onnx import model, normal, value
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnx_lobs import PruneConfig
from onnx_lobs.arrays import Array
from onnx_lobs.errors import ConfigError
from onnx_lobs.verbs.prune import prune_file

DATA = {"x": normal(5, 96, 4, 6, 6)}
INT8_ERROR = 0.02  # of the mean square of outputs behind three layers in 8 bits


def network(opset: int = 13) -> ModelProto:
    """Convolutions with biases, and a Gemm with its outputs first."""
    nodes = [
        helper.make_node("Conv", ["x", "c", "e"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "d"], ["b"], group=2),
        helper.make_node("Flatten", ["b"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "g"], ["y"], transB=1),
    ]
    weights = {
        "c": normal(1, 8, 4, 3, 3), "e": normal(6, 8), "d": normal(2, 8, 4, 3, 3),
        "w": normal(3, 40, 128), "g": normal(7, 40),
    }  # fmt: skip
    return model(nodes, [value("x", [None, 4, 6, 6])], ["y"], weights, opset=opset)


def pruned(folder: Path, name: str, proto: ModelProto, **options: Any) -> tuple[Any, Path]:
    onnx.save(proto, folder / "m.onnx")
    config = PruneConfig(
        **{"sparsity": 0.7, "min_weights": 0, "allocation": "uniform", "values": "int8", **options}
    )
    return prune_file(folder / "m.onnx", folder / name, config, data=DATA), folder / name


def codes(path: Path) -> dict[tuple[int, ...], Array]:
    found = (t for t in onnx.load(path).graph.initializer if t.data_type == TensorProto.INT8)
    return {tuple(t.dims): numpy_helper.to_array(t) for t in found if len(t.dims) > 1}


def outputs(path: Path) -> Array:
    session = onnxruntime.InferenceSession(str(path))
    (found,) = session.run(None, DATA)
    return np.asarray(found)


def kernels(path: Path) -> list[str]:
    """What onnxruntime runs of a file, at its usual optimisation."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path.with_suffix(".optimised"))
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options)
    return [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]


def test_numbers_and_zeros_of_the_run_are_kept(tmp_path: Path) -> None:
    _, plain = pruned(tmp_path, "plain.onnx", network())
    record, both = pruned(tmp_path, "both.onnx", network(), activations="int8")
    wanted, found = codes(plain), codes(both)
    assert len(wanted) == 2  # two convolutions of one shape
    for shape in wanted:
        np.testing.assert_array_equal(found[shape], wanted[shape])
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(both).graph.node}
    assert any("with int8 ones the outputs differ" in text for text in record.warnings)
    one, other = outputs(both), outputs(plain)
    assert ((one - other) ** 2).mean() < INT8_ERROR * (other**2).mean()


def test_packing_comes_last_and_changes_no_output(tmp_path: Path) -> None:
    _, dense = pruned(tmp_path, "dense.onnx", network(), activations="int8")
    _, packed = pruned(tmp_path, "packed.onnx", network(), activations="int8", storage="packed")
    assert packed.stat().st_size < dense.stat().st_size
    np.testing.assert_array_equal(outputs(packed), outputs(dense))
    assert "QLinearConv" in kernels(packed)  # what is unpacked is fused as what is dense
    assert kernels(packed) == kernels(dense)


@pytest.mark.parametrize(
    ("options", "opset", "message"),
    [
        ({"values": "fp32"}, 13, "need int8 weights, values are fp32; add --values int8"),
        ({}, 12, "need operator set 13 or later, the model imports 12"),
        ({"sparsity": None, "max_output_error": 0.1}, 13, "give a --sparsity in place"),
    ],
)
def test_what_is_not_possible_is_refused_before_the_work(
    tmp_path: Path, options: dict[str, Any], opset: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        pruned(tmp_path, "o.onnx", network(opset), activations="int8", **options)
