"""What the dense network gives is cached for several runs, as far as it fits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from build_onnx import Array, model, normal, value
from onnx import ModelProto, helper

from onnx_lobs.calibration import dense_pass, sequential
from onnx_lobs.calibration.dense_target import key_of
from onnx_lobs.calibration.options import CalibrationOptions
from onnx_lobs.calibration.shared_inputs import find_shared_inputs
from onnx_lobs.calibration.target_cache import TargetCache
from onnx_lobs.graph.files.tensors import write_tensor
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import find_layers

NODE = helper.make_node
CPU = "CPUExecutionProvider"
BATCHES = 3
STORED = 2 * BATCHES  # what the second and the third layer have in each batch
TARGET = 8 * 7 * 4  # bytes of one


def network() -> ModelProto:
    nodes = [
        NODE("MatMul", ["x", "w1"], ["a"], name="one"),
        NODE("Relu", ["a"], ["ra"]),
        NODE("MatMul", ["ra", "w2"], ["b"], name="two"),
        NODE("Relu", ["b"], ["rb"]),
        NODE("MatMul", ["rb", "w3"], ["y"], name="three"),
    ]
    weights = {f"w{i}": normal(i, 8, 8) for i in (1, 2, 3)}
    return model(nodes, [value("x", [None, 8])], ["y"], weights)


DENSE = Model(network(), None)


def batches() -> list[dict[str, Array]]:
    return [{"x": normal(10 + i, 7, 8)} for i in range(BATCHES)]


def n_stored(cache: TargetCache) -> int:
    """How many of the targets are in the cache."""
    names = [key_of(shared.uses[0]) for shared in find_shared_inputs(find_layers(DENSE)[0])]
    found = [cache.find(name, batch) for name in names for batch in range(BATCHES)]
    return sum(data is not None for data in found)


def calibrated(cache: TargetCache | None, scale: float) -> Iterator[tuple[Array, Array]]:
    """Yield the sums of each layer, whose weights become `scale` times as large."""
    dense, pruned = Model(network(), None), Model(network(), None)
    shared_inputs = find_shared_inputs(find_layers(dense)[0])
    found = sequential.calibrate_sequential(
        dense, pruned, shared_inputs, batches(), CalibrationOptions(BATCHES, CPU), cache=cache
    )
    for shared, calibration in found:
        assert calibration is not None
        moments = calibration.total(0)
        assert moments.targets is not None
        yield moments.inputs.matrix.copy(), moments.targets.cross.copy()
        name = shared.layers[0].weight
        tensor = pruned.scopes[0].initializers[name]
        write_tensor(tensor, np.float32(scale) * pruned.value(tensor))


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An entry for each session that is made on the dense network."""
    seen: list[str] = []
    make = dense_pass.stage_session

    def counted(*args: object) -> object:
        seen.append("session")
        return make(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(dense_pass, "stage_session", counted)
    return seen


@pytest.mark.parametrize(
    ("budget", "expected"), [(1 << 30, STORED), (STORED * TARGET - 1, STORED - 1), (0, 0)]
)
def test_the_dense_network_runs_again_only_if_something_did_not_fit(
    sessions: list[str], budget: int, expected: int
) -> None:
    cache = TargetCache(budget)
    for _ in range(3):
        list(calibrated(cache, 0.5))
        assert n_stored(cache) == expected
    assert len(sessions) == (1 if expected == STORED else 3)


@pytest.mark.parametrize("budget", [1 << 30, 3 * TARGET])
def test_sums_are_the_same_to_the_last_bit(budget: int) -> None:
    cache = TargetCache(budget)
    list(calibrated(cache, 0.5))
    for again, alone in zip(calibrated(cache, 0.25), calibrated(None, 0.25), strict=True):
        for one, other in zip(again, alone, strict=True):
            assert np.array_equal(one, other)


def test_what_is_cleared_is_made_again_within_the_same_budget() -> None:
    cache = TargetCache(8)
    for _ in range(2):
        assert cache.store("a", 0, np.ones(1))
        assert not cache.store("a", 1, np.ones(1))
        found = cache.find("a", 0)
        assert found is not None
        assert found == 1
        cache.clear()
        assert cache.find("a", 0) is None
