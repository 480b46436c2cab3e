"""Inspecting lists layers, zeros and skips without running the model."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from onnx_lobs import PruneConfig
from onnx_lobs.errors import ConfigError
from onnx_lobs.verbs.inspect import inspect

LENET = Path(__file__).parents[2] / "models" / "mnist" / "lenet-5.onnx"


def test_a_file_is_listed_with_its_layers_and_size() -> None:
    seen = inspect(LENET)
    assert [(row.op, row.shape, row.weights) for row in seen.layers] == [
        ("Conv", (20, 1, 5, 5), 500),
        ("Conv", (50, 20, 5, 5), 25000),
        ("Gemm", (500, 800), 400000),
        ("Gemm", (10, 500), 5000),
    ]
    assert seen.file_bytes == LENET.stat().st_size
    assert seen.opset == 17


def test_zeros_in_the_file_are_counted() -> None:
    proto = onnx.load(LENET)
    tensor = next(t for t in proto.graph.initializer if tuple(t.dims) == (10, 500))
    values = numpy_helper.to_array(tensor).copy()
    values[:, :100] = 0
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    assert inspect(proto).layers[3].zeros == 1000


@pytest.mark.parametrize("form", ["proto", "bytes"])
def test_a_model_without_a_file_is_listed_too(form: str) -> None:
    proto = onnx.load(LENET)
    seen = inspect(proto if form == "proto" else proto.SerializeToString())
    assert len(seen.layers) == 4
    assert seen.file_bytes > 1_700_000


def test_options_choose_the_layers() -> None:
    seen = inspect(LENET, PruneConfig(op_types=("Conv",)))
    assert [row.op for row in seen.layers] == ["Conv", "Conv"]
    assert {skip.reason for skip in seen.skipped} == {"Gemm is not among the operators asked for"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_sparsity": {"nowhere": 0.7}}, "layer sparsity 'nowhere' matches no layer"),
        ({"layer_min": {"nowhere": 0.7}}, "layer min 'nowhere' matches no layer"),
        ({"layer_max": {"*": 0.2}, "sparsity": 0.9}, "0.9"),
        ({"layer_min": {"*": 0.7}, "layer_max": {"*": 0.6}}, "above layer max"),
        ({"pattern": "2:4", "sparsity": 0.9}, "pattern 2:4 has 0.5 zeros"),
        ({"pattern": "0:4"}, "0:4"),
    ],
)
def test_what_a_run_would_refuse_is_refused(options: dict[str, object], message: str) -> None:
    config = PruneConfig(**options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=message):
        inspect(LENET, config)
