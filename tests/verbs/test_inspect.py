"""Inspecting lists layers, zeros and skips without running the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnx_lobs import PruneConfig
from onnx_lobs.errors import ConfigError
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.run.log import Log
from onnx_lobs.run.observations import observations_of
from onnx_lobs.run.setup import open_run
from onnx_lobs.verbs.inspect import ValueRow, inspect
from onnx_lobs.verbs.inspect_rows import value_row

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


def test_inputs_outputs_operators_and_work_are_listed() -> None:
    seen = inspect(LENET)
    assert seen.inputs == (ValueRow("image", "float", ("N", 1, 28, 28)),)
    assert seen.outputs == (ValueRow("logits", "float", ("N", 10)),)
    assert seen.operators == {"Conv": 2, "Gemm": 2, "MaxPool": 2, "Flatten": 1, "Relu": 1}
    work = [row.multiplications for row in seen.layers]
    assert work == [500 * 24 * 24, 25_000 * 8 * 8, 400_000, 5_000]


def test_work_counts_what_one_run_of_onnxruntime_observes(tmp_path: Path) -> None:
    x = np.zeros((3, 1, 28, 28), np.float32)
    scratch = Scratch(tmp_path)
    setup, networks = open_run(LENET, {"image": x}, None, PruneConfig(), Log(), scratch)
    observed = observations_of(setup, networks)
    sizes = [layer.size for layer in setup.layers]
    assert [row.multiplications for row in inspect(LENET).layers] == list(observed * sizes)


def test_work_that_depends_on_open_sizes_is_unknown() -> None:
    proto = onnx.load(LENET)
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    assert [row.multiplications for row in inspect(proto).layers][:2] == [None] * 2


def test_a_fixed_batch_is_divided_out() -> None:
    proto = onnx.load(LENET)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    assert inspect(proto).layers[0].multiplications == 500 * 24 * 24


def with_zeros(keep: np.ndarray) -> onnx.ModelProto:
    """Return the network with the last layer, 10 x 500, pruned where `keep` is False."""
    proto = onnx.load(LENET)
    tensor = next(t for t in proto.graph.initializer if tuple(t.dims) == (10, 500))
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * keep, tensor.name))
    return proto


# every other row has its zeros elsewhere, so that no block of rows is zero
TWO_OF_FOUR = np.tile(np.float32([[1, 0, 0, 1], [0, 1, 1, 0]]), (5, 125))
ONE_OF_FOUR = np.tile(np.float32([[0, 0, 0, 1], [1, 0, 0, 0]]), (5, 125))
BLOCKS = np.repeat(np.tile(np.float32([[1, 0], [0, 1]]), (1, 250)), 5, axis=0)


@pytest.mark.parametrize(
    ("keep", "patterns"),
    [(TWO_OF_FOUR, ("2:4",)), (ONE_OF_FOUR, ("1:4",)), (np.float32(1), ())],
)
def test_patterns_that_zeros_keep_to_are_named(keep: np.ndarray, patterns: tuple[str, ...]) -> None:
    assert inspect(with_zeros(keep)).layers[3].patterns == patterns


@pytest.mark.parametrize(
    ("pattern", "keep", "is_met"),
    [
        ("2:4", TWO_OF_FOUR, True),
        ("2:4", ONE_OF_FOUR, True),  # further zeros do no harm
        ("1:4", TWO_OF_FOUR, False),
        ("2:4", np.float32(1), False),
        ("5x1", BLOCKS, True),
        ("5x1", TWO_OF_FOUR, False),
        ("10x1", BLOCKS, False),
        ("5x1", np.float32(1), False),
        ("unstructured", np.float32(1), True),
    ],
)
def test_a_pattern_that_is_asked_for_is_met_or_not(
    pattern: str, keep: np.ndarray, is_met: bool
) -> None:
    config = PruneConfig(pattern=pattern, include=("re:.*fc2.*",))
    assert inspect(with_zeros(keep), config).is_met is is_met


def test_a_type_that_nobody_knows_is_shown_by_its_number() -> None:
    found = helper.make_tensor_value_info("x", 65536, [1, 2])
    assert value_row(found).dtype == "type 65536"
