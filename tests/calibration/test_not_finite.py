"""Which samples make a value inside the network NaN or infinite."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import model, normal, value
from onnx import TensorProto, helper

from onnx_lobs.arrays import Array
from onnx_lobs.calibration.not_finite import told_where
from onnx_lobs.data.inputs import input_specs
from onnx_lobs.data.reader import open_data
from onnx_lobs.errors import NotFiniteError
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.layers.find import LayerFilter, find_layers

CPU = "CPUExecutionProvider"


def told(x: Array, *, samples: int | None = None, given: bool = False, mask: float = 0.0) -> str:
    """Return what is said of log(x) in front of a layer."""
    nodes = [
        helper.make_node("Log", ["x"], ["l"], name="log"),
        helper.make_node("Add", ["l", "m"], ["a"], name="shift"),
        helper.make_node("MatMul", ["a", "w"], ["y"], name="fc"),
    ]
    weights = {"w": normal(0, 3, 8), "m": np.full(3, mask, np.float32)}
    proto = model(nodes, [value("x", ["N", 3], TensorProto.FLOAT)], ["y"], weights)
    dense = Model(to_executable(proto, None, CPU)[0], None)
    layers, _ = find_layers(dense, LayerFilter(min_weights=0))
    source = [x[i : i + 10] for i in range(0, len(x), 10)] if given else x
    batches = open_data(source, input_specs(proto), samples=samples, batch_size=8)
    with (
        pytest.raises(NotFiniteError) as found,
        told_where(dense, layers, batches, CPU),
    ):
        raise NotFiniteError("the input of 'fc' is not finite")
    return str(found.value)


def positive(n: int, *bad: int) -> Array:
    x = np.random.default_rng(0).uniform(1, 2, (n, 3)).astype(np.float32)
    x[list(bad), 1] = -1  # its logarithm is NaN
    return x


def test_one_bad_sample_of_many_is_named() -> None:
    assert told(positive(50, 17)) == (
        "the input of 'fc' is not finite; so it is on sample 17 (1 of 50, counted from 0): remove "
        "or mend that"
    )


def test_of_many_bad_samples_the_first_are_named() -> None:
    assert "on samples 1, 3, 5, 7, 9, ... (6 of 50" in told(positive(50, 1, 3, 5, 7, 9, 40))


def test_samples_of_a_subset_have_their_numbers_in_the_data_as_given() -> None:
    words = told(positive(50, *range(20, 50)), samples=10)
    numbers = [
        int(word)
        for word in words.partition("samples ")[2]
        .partition(" (")[0]
        .replace(", ...", "")
        .split(", ")
    ]
    assert numbers
    assert min(numbers) >= 20


def test_batches_that_cannot_be_cut_are_named_as_batches() -> None:
    assert "on batch 2 (1 of 5, counted from 0)" in told(positive(50, 27), given=True)


def test_all_samples_say_that_it_is_no_sample() -> None:
    assert told(positive(6, *range(6))).endswith("so it is on all 6 samples")


def test_constants_of_the_model_are_told_first() -> None:
    words = told(positive(6), mask=np.nan)
    assert "the model's own 'm', which Add 'shift' reads, holds NaN (3 of 3 values)" in words


def test_where_nothing_is_found_the_error_stays() -> None:
    assert told(positive(6)) == "the input of 'fc' is not finite"
