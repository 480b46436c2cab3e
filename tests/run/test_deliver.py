"""A written model keeps the form of its zeros and computes what the one in memory does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from build_onnx import model, normal, value
from onnx import TensorProto, helper

from onnx_lobs import PruneConfig
from onnx_lobs.verbs.prune import prune_file

FAST: dict[str, Any] = {"method": "magnitude", "refit": False, "allocation": "uniform"}


def network(path: Path) -> Path:
    """Write a model whose embedding, which is not pruned, is as sparse as its layer."""
    table, weight = normal(1, 50, 32), normal(2, 32, 40)
    for array in (table, weight):
        array[np.abs(array) < 1.2] = 0
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weight"], ["y"]),
    ]
    inputs = [value("x", ["n"], TensorProto.INT64)]
    onnx.save(model(nodes, inputs, ["y"], {"table": table, "weight": weight}), path)
    return path


def written(source: Path, name: str, **options: Any) -> tuple[list[str], int, str]:
    """Prune a file; return the sparse initializers of the new one, its bytes, and the report's."""
    output = source.with_name(name)
    ids = np.random.default_rng(3).integers(0, 50, 200)
    report = prune_file(source, output, PruneConfig(sparsity=0.8, **FAST, **options), data=ids)
    sparse = [each.values.name for each in onnx.load(output).graph.sparse_initializer]
    return sorted(sparse), output.stat().st_size, str(report.options["storage"])


@pytest.mark.parametrize(("storage", "expected"), [(None, "dense"), ("dense", "dense")])
def test_a_dense_model_stays_dense(tmp_path: Path, storage: str | None, expected: str) -> None:
    assert written(network(tmp_path / "m.onnx"), "out.onnx", storage=storage)[::2] == ([], expected)


def test_a_sparse_model_stays_sparse_unless_another_form_is_asked_for(tmp_path: Path) -> None:
    source = network(tmp_path / "m.onnx")
    first, size, _ = written(source, "sparse.onnx", storage="sparse")
    assert first == ["weight"]  # of a dense file, what was pruned
    once = tmp_path / "sparse.onnx"
    held, same, told = written(once, "again.onnx")
    assert (held, told) == (["weight"], "sparse")
    assert same <= size * 1.01  # the record of the run apart
    assert written(once, "dense.onnx", storage="dense")[::2] == ([], "dense")


def test_what_is_not_pruned_stays_sparse_too(tmp_path: Path) -> None:
    source = network(tmp_path / "m.onnx")
    proto = onnx.load(source)
    (table,) = [t for t in proto.graph.initializer if t.name == "table"]
    array = onnx.numpy_helper.to_array(table)
    places = np.flatnonzero(array)
    proto.graph.initializer.remove(table)
    proto.graph.sparse_initializer.append(
        helper.make_sparse_tensor(
            onnx.numpy_helper.from_array(array.ravel()[places], "table"),
            onnx.numpy_helper.from_array(places.astype(np.int64), "places"),
            array.shape,
        )
    )
    onnx.save(proto, source)
    assert written(source, "out.onnx")[0] == ["table", "weight"]


def test_int8_weights_whose_scale_is_an_input_too_are_written(tmp_path: Path) -> None:
    """In memory the scale is constant: there onnxruntime would multiply in 8 bits, and not here."""
    codes = np.random.default_rng(0).integers(-90, 90, (12, 16)).astype(np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scale"], ["w1"]),
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("MatMul", ["a", "w2"], ["y"]),
    ]
    arrays = {"codes": codes, "scale": np.array(0.01, np.float32), "w2": normal(1, 16, 8)}
    inputs = [value("x", ["n", 12]), value("scale", [])]
    source, output = tmp_path / "m.onnx", tmp_path / "out.onnx"
    onnx.save(model(nodes, inputs, ["y"], arrays), source)
    x = {"x": normal(2, 6, 12)}
    prune_file(source, output, PruneConfig(sparsity=0.5, min_weights=1, **FAST), data=x)
    (found,) = ort.InferenceSession(output).run(None, x)
    (pruned,) = [w for w in onnx.load(output).graph.initializer if w.name == "w2"]
    wanted = x["x"] @ (codes * np.float32(0.01)) @ onnx.numpy_helper.to_array(pruned)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
