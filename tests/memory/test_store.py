"""Values between stages: in memory up to a budget, then in files; freed as they die."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from build_onnx import model, normal, value
from onnx import ModelProto, helper

from onnx_lobs.calibration.independent import calibrate_independent
from onnx_lobs.calibration.options import CalibrationOptions
from onnx_lobs.calibration.sequential import calibrate_in_stages, calibrate_sequential
from onnx_lobs.calibration.shared_inputs import find_shared_inputs
from onnx_lobs.errors import ConfigError
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import find_layers
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import Overlay, Store

OPTIONS = CalibrationOptions(n_batches=3, provider="CPUExecutionProvider")
BIG = 5000  # elements; even as bytes too many to be kept in memory regardless


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    made = Scratch(tmp_path)
    yield made
    made.close()


def test_arrays_beyond_the_budget_go_to_files(scratch: Scratch) -> None:
    store = Store(4 * BIG, scratch)
    values = store.new()
    arrays = {name: normal(i, BIG) for i, name in enumerate("abc")}
    values.add(arrays)
    assert (store.in_memory, store.in_files) == (4 * BIG, 8 * BIG)
    assert len(list(scratch.folder.iterdir())) == 2
    assert list(values) == ["a", "b", "c"]
    assert len(values) == 3
    for name, array in arrays.items():
        assert np.array_equal(values[name], array)


def test_a_part_of_a_store_fills_its_share_and_no_more_than_the_whole_has_left(
    scratch: Scratch,
) -> None:
    store = Store(4 * BIG, scratch)
    part = store.part(2)
    mine, theirs = store.new(), part.new()
    one = np.zeros(BIG, np.uint8)
    theirs.add({"a": one, "b": one, "c": one})
    assert (part.in_memory, part.in_files) == (2 * BIG, BIG)
    assert (store.in_memory, store.in_files) == (2 * BIG, BIG)
    theirs.keep(["c"])
    mine.add(dict.fromkeys("abc", one))
    theirs.add({"a": one, "b": one})
    assert (part.in_memory, store.in_memory) == (BIG, 4 * BIG)
    mine.keep([])
    theirs.keep([])
    assert (part.in_memory, part.in_files, store.in_memory, store.in_files) == (0, 0, 0, 0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int64", "bool", "bfloat16"])
@pytest.mark.parametrize("shape", [(BIG,), (10, BIG // 10), (BIG, 1, 1)])
def test_files_keep_every_bit(scratch: Scratch, dtype: str, shape: tuple[int, ...]) -> None:
    made = np.dtype(getattr(ml_dtypes, dtype, dtype))
    array = (10 * normal(1, *shape)).astype(made)
    store = Store(0, scratch)
    values = store.new()
    values.add({"x": array})
    assert store.in_files == array.nbytes
    assert values["x"].dtype == made
    assert values["x"].shape == shape
    assert values["x"].tobytes() == array.tobytes()


def test_what_is_not_kept_is_freed_at_once(scratch: Scratch) -> None:
    store = Store(4 * BIG, scratch)
    values = store.new()
    values.add({name: normal(i, BIG) for i, name in enumerate("abc")})
    values.keep({"c"})
    assert (store.in_memory, store.in_files) == (0, 4 * BIG)
    assert len(list(scratch.folder.iterdir())) == 1
    values.add({"c": normal(7, BIG)})
    assert np.array_equal(values["c"], normal(7, BIG))
    values.keep(())
    assert (store.in_memory, store.in_files) == (0, 0)
    assert not list(scratch.folder.iterdir())


@pytest.mark.parametrize(
    "kept", [np.zeros(()), np.zeros((0, 9)), np.array(["a" * 9] * BIG, object), [normal(1, 9)]]
)
def test_small_arrays_texts_and_sequences_stay_in_memory(scratch: Scratch, kept: Any) -> None:
    values = Store(0, scratch).new()
    values.add({"x": kept})
    assert values["x"] is kept


def test_an_array_that_is_held_is_mapped_once(scratch: Scratch) -> None:
    values = Store(0, scratch).new()
    values.add({"x": normal(1, BIG)})
    first = values["x"]
    assert values["x"] is first


def test_a_full_disk_is_reported(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(ConfigError, match=r"No space left on device.*--scratch"):
        Store(0, scratch).new().add({"x": normal(1, BIG)})


def test_an_overlay_shows_the_upper_value() -> None:
    upper, lower = {"a": normal(1, 2)}, {"a": normal(2, 2), "b": normal(3, 2)}
    both = Overlay(upper, lower)
    assert both["a"] is upper["a"]
    assert both["b"] is lower["b"]
    assert list(both) == ["a", "b"]
    assert len(both) == 2
    assert "c" not in both


def network() -> ModelProto:
    """Residual sum around two layers, then a third."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["c"]),
        helper.make_node("Add", ["c", "x"], ["s"]),
        helper.make_node("MatMul", ["s", "w3"], ["y"]),
    ]
    weights = {f"w{i}": normal(i, 64, 64) for i in (1, 2, 3)}
    return model(nodes, [value("x", [None, 64])], ["y"], weights)


def calibrate(store: Store | None, *, pruned: bool) -> list[Calibration]:
    index = Model(network(), None)
    shared_inputs = find_shared_inputs(find_layers(index)[0])
    batches = [{"x": normal(10 + i, 100, 64)} for i in range(3)]
    if pruned:
        found = calibrate_sequential(index, index, shared_inputs, batches, OPTIONS, store=store)
    else:
        found = calibrate_in_stages(index, shared_inputs, batches, OPTIONS, store=store)
    return [calibration for _, calibration in found if calibration is not None]


def test_moments_do_not_depend_on_where_values_are_kept(scratch: Scratch) -> None:
    store = Store(30_000, scratch)
    for kept, filed in zip(
        calibrate(None, pruned=True), calibrate(store, pruned=True), strict=True
    ):
        for one, other in zip(kept.fit, filed.fit, strict=True):
            assert one.targets is not None
            assert other.targets is not None
            assert np.array_equal(one.inputs.matrix, other.inputs.matrix)
            assert np.array_equal(one.targets.cross, other.targets.cross)
    assert (store.in_memory, store.in_files) == (0, 0)


def test_independent_moments_come_stage_by_stage_too(scratch: Scratch) -> None:
    index = Model(network(), None)
    shared_inputs = find_shared_inputs(find_layers(index)[0])
    batches = [{"x": normal(10 + i, 100, 64)} for i in range(3)]
    whole = calibrate_independent(index, shared_inputs, batches, OPTIONS)
    for one, other in zip(whole, calibrate(Store(0, scratch), pruned=False), strict=True):
        assert other.fit[0].targets is None
        expected = one.fit[0].inputs.matrix
        scale = 1e-5 * np.abs(expected).max()  # float32 in two ways to run the graph
        np.testing.assert_allclose(other.fit[0].inputs.matrix, expected, rtol=0, atol=scale)
