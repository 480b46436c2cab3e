"""A run brings weights into the form that is asked for, from solving to the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import constant, model, normal, run, value
from onnx import ModelProto, TensorProto, helper, numpy_helper

import onnx_lobs
from onnx_lobs import PruneConfig
from onnx_lobs.arrays import Array
from onnx_lobs.errors import ConfigError
from onnx_lobs.report.record import Report
from onnx_lobs.verbs.inspect import inspect
from onnx_lobs.verbs.prune import prune_file

DATA = {"x": normal(5, 96, 4, 6, 6)}


def network(opset: int = 13) -> ModelProto:
    """A convolution, a depthwise one, and a matrix in a Constant node."""
    nodes = [
        helper.make_node("Conv", ["x", "c"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "d"], ["b"], group=8),
        helper.make_node("Relu", ["b"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        constant("w", normal(3, 128, 40)),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = {"c": normal(1, 8, 4, 3, 3), "d": normal(2, 8, 1, 3, 3)}
    return model(nodes, [value("x", [None, 4, 6, 6])], ["y"], weights, opset=opset)


def pruned(
    folder: Path, proto: ModelProto, data: Mapping[str, Array] = DATA, **options: Any
) -> tuple[Report, ModelProto]:
    onnx.save(proto, folder / "m.onnx")
    config = PruneConfig(**{"sparsity": 0.7, "min_weights": 0, "allocation": "uniform", **options})
    record = prune_file(folder / "m.onnx", folder / "o.onnx", config, data=data, overwrite=True)
    return record, onnx.load(folder / "o.onnx")


def int8_tensors(proto: ModelProto) -> dict[tuple[int, ...], Array]:
    """The int8 tensors by shape."""
    found = (t for t in proto.graph.initializer if t.data_type == TensorProto.INT8)
    return {tuple(t.dims): numpy_helper.to_array(t) for t in found}


def test_int8_keeps_the_zeros_and_rounds_layers_without_any(tmp_path: Path) -> None:
    record, proto = pruned(tmp_path, network(), values="int8", min_weights=100)
    stored = int8_tensors(proto)
    assert set(stored) == {(8, 4, 3, 3), (8, 1, 3, 3), (128, 40)}
    assert (stored[8, 4, 3, 3] == 0).mean() >= 0.7
    assert (stored[128, 40] == 0).mean() >= 0.7
    assert (stored[8, 1, 3, 3] == 0).mean() < 0.2
    assert [row.status for row in record.layers][1] == "rounded"
    assert not record.warnings or not any("int8" in text for text in record.warnings)
    axes = {
        tuple(int8.dims): next((a.i for a in node.attribute if a.name == "axis"), 1)
        for node in proto.graph.node
        if node.op_type == "DequantizeLinear"
        for int8 in proto.graph.initializer
        if int8.name == node.input[0]
    }
    assert axes == {(8, 4, 3, 3): 0, (8, 1, 3, 3): 0, (128, 40): 1}


@pytest.mark.slow
@pytest.mark.parametrize("sequential", [True, False])
def test_int8_costs_little_beside_the_zeros(tmp_path: Path, sequential: bool) -> None:
    x = normal(99, 2000, 4, 6, 6)  # the ten samples that a run holds out say it by chance
    wanted = run(network(), x=x)["y"]
    errors = []
    for values in ("fp32", "int8"):
        _, proto = pruned(tmp_path, network(), sequential=sequential, values=values)
        errors.append(float(((run(proto, x=x)["y"] - wanted) ** 2).sum() / (wanted**2).sum()))
    assert errors[1] < 1.005 * errors[0]  # measured: .952 and 1.000


@pytest.mark.parametrize("method", ["magnitude", "sparsegpt", "lobs", "net-trim"])
def test_every_kind_of_method_is_rounded(tmp_path: Path, method: str) -> None:
    _, proto = pruned(tmp_path, network(), values="int8", method=method)
    assert {(8, 4, 3, 3), (128, 40)} <= set(int8_tensors(proto))


def test_half_precision_is_a_cast_and_nothing_else(tmp_path: Path) -> None:
    _, proto = pruned(tmp_path, network(), values="fp16")
    kinds = {tuple(t.dims): t.data_type for t in proto.graph.initializer}
    assert kinds[128, 40] == kinds[8, 4, 3, 3] == TensorProto.FLOAT16
    assert [n.op_type for n in proto.graph.node][:3] == ["Cast"] * 3


def test_before_operator_set_13_a_tensor_has_one_scale(tmp_path: Path) -> None:
    _, proto = pruned(tmp_path, network(11), values="int8", storage="packed")
    scales = [
        t for node in proto.graph.node if node.op_type == "DequantizeLinear"
        for t in proto.graph.initializer if t.name == node.input[1]
    ]  # fmt: skip
    assert len(scales) == 3
    assert all(not t.dims for t in scales)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": "int8"}, r"values int8 need operator set 10 or later, the model imports 9"),
        ({"storage": "packed"}, r"format packed is not possible: .* operator set 9"),
    ],
)
def test_what_an_old_model_cannot_hold_is_refused(
    tmp_path: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        pruned(tmp_path, network(9), **options)
    assert not (tmp_path / "o.onnx").exists()


@pytest.mark.slow
def test_the_cache_gives_the_same_bytes(tmp_path: Path) -> None:
    options = {"values": "int8", "storage": "packed", "cache": str(tmp_path / "cache")}
    first = pruned(tmp_path, network(), **options)[1].SerializeToString()
    again = pruned(tmp_path, network(), **options)[1].SerializeToString()
    assert first == again


def test_packed_files_are_inspected_and_pruned_again(tmp_path: Path) -> None:
    pruned(tmp_path, network(), values="int8", storage="packed")
    seen = inspect(tmp_path / "o.onnx")
    convolution, depthwise, matrix = seen.layers
    assert depthwise.zeros < 0.2 * depthwise.weights
    assert all(row.zeros >= 0.7 * row.weights - 1 for row in (convolution, matrix))
    record, _ = pruned(tmp_path, onnx.load(tmp_path / "o.onnx"), sparsity=0.8)
    assert record.totals.zeros >= 0.8 * record.totals.weights - 1


WORDS = {"i": np.random.default_rng(0).integers(0, 300, (64, 5))}


def reader() -> ModelProto:
    """A table of 300 vectors, and a matrix that multiplies those that are looked up."""
    nodes = [
        helper.make_node("Gather", ["t", "i"], ["x"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    inputs = [value("i", [None, 5], TensorProto.INT64)]
    weights = {"t": normal(1, 300, 24), "w": normal(2, 24, 16)}
    return model(nodes, inputs, ["y"], weights, opset=13)


def test_tables_are_int8_and_the_report_tells_their_change(tmp_path: Path) -> None:
    record, proto = pruned(tmp_path, reader(), data=WORDS, values="int8")
    assert set(int8_tensors(proto)) == {(300, 24), (24, 16)}
    (told,) = (text for text in record.warnings if "rows are looked up (1)" in text)
    # plain rounding of 24 normal numbers to 127 steps of the largest: 2.3² / 127² / 12
    assert float(told.split("at most ")[1].split()[0]) == pytest.approx(3e-5, rel=0.5)
    _, floating = pruned(tmp_path, reader(), data=WORDS)
    assert {t.data_type for t in floating.graph.initializer} == {TensorProto.FLOAT}
    inspected = inspect(tmp_path / "o.onnx")
    assert inspected.layers[0].zeros >= 0.7 * 24 * 16 - 1


def test_packed_tables_take_seven_bits_and_the_report_says_so(tmp_path: Path) -> None:
    record, proto = pruned(tmp_path, reader(), data=WORDS, values="int8", storage="packed")
    (told,) = (text for text in record.warnings if "rows are looked up (1)" in text)
    assert "stored in 7 bits" in told
    # four times the change of 127 steps
    assert float(told.split("at most ")[1].split()[0]) == pytest.approx(1.2e-4, rel=0.5)
    assert [300 * 24 // 8, 7] in [list(t.dims) for t in proto.graph.initializer]
    again = pruned(tmp_path, onnx.load(tmp_path / "o.onnx"), data=WORDS, sparsity=0.8)[1]
    assert [node.op_type for node in again.graph.node][-2:] == ["Gather", "MatMul"]


def test_a_result_that_is_saved_from_python_has_packed_tables(tmp_path: Path) -> None:
    result = onnx_lobs.prune(
        reader(), WORDS, sparsity=0.7, values="int8", storage="packed", min_weights=0
    )
    result.save(tmp_path / "o.onnx")
    shapes = [list(tensor.dims) for tensor in onnx.load(tmp_path / "o.onnx").graph.initializer]
    assert [300 * 24 // 8, 7] in shapes


def test_tables_are_read_again_as_floating_ones(tmp_path: Path) -> None:
    pruned(tmp_path, reader(), data=WORDS, values="int8")
    _, proto = pruned(tmp_path, onnx.load(tmp_path / "o.onnx"), data=WORDS, sparsity=0.8)
    assert [node.op_type for node in proto.graph.node][-2:] == ["Gather", "MatMul"]
    assert not int8_tensors(proto)


def test_a_result_with_tables_that_is_saved_later_is_the_file_of_its_run(tmp_path: Path) -> None:
    options = {"values": "int8", "min_weights": 0, "allocation": "uniform"}
    result = onnx_lobs.prune(reader(), WORDS, sparsity=0.7, **options)
    result.save(tmp_path / "later.onnx")
    _, proto = pruned(tmp_path, reader(), data=WORDS, values="int8")
    assert onnx.load(tmp_path / "later.onnx").graph == proto.graph


@pytest.mark.slow
def test_a_limit_on_bytes_is_met_by_packed_int8(tmp_path: Path) -> None:
    options = {"values": "int8", "storage": "packed", "max_bytes": 6000, "sparsity": None}
    record, proto = pruned(tmp_path, network(), **options)
    assert record.target is not None
    assert record.target.is_met
    assert proto.ByteSize() <= 6000


def test_a_result_that_is_saved_later_has_the_form_of_its_run(tmp_path: Path) -> None:
    options = {"values": "int8", "storage": "packed", "min_weights": 0, "allocation": "uniform"}
    result = onnx_lobs.prune(network(), DATA, sparsity=0.7, **options)
    result.save(tmp_path / "later.onnx")
    _, proto = pruned(tmp_path, network(), values="int8", storage="packed")
    assert (tmp_path / "later.onnx").stat().st_size == proto.ByteSize()
