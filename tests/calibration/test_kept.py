"""What the dense network gives is noted once for several runs, as far as it fits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from build_onnx import Array, model, normal, value
from onnx import ModelProto, helper

from onnx_lobs.calibration import dense_pass, sequential
from onnx_lobs.calibration.kept import KeptObservations
from onnx_lobs.calibration.shared_inputs import find_shared_inputs
from onnx_lobs.graph.files.tensors import write_tensor
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import find_layers

NODE = helper.make_node
CPU = "CPUExecutionProvider"
BATCHES = 3
NOTED = 2 * BATCHES  # what the second and the third layer have in each batch
NOTE = 8 * 7 * 4  # bytes of one


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


def batches() -> list[dict[str, Array]]:
    return [{"x": normal(10 + i, 7, 8)} for i in range(BATCHES)]


def calibrated(kept: KeptObservations | None, scale: float) -> Iterator[tuple[Array, Array]]:
    """Yield the sums of each layer, whose weights become `scale` times as large."""
    dense, pruned = Model(network(), None), Model(network(), None)
    groups = find_shared_inputs(find_layers(dense)[0])
    found = sequential.calibrate_sequential(
        dense, pruned, groups, batches(), n_batches=BATCHES, provider=CPU, kept=kept
    )
    for group, calibration in found:
        assert calibration is not None
        moments = calibration.total(0)
        assert moments.targets is not None
        yield moments.inputs.matrix.copy(), moments.targets.cross.copy()
        name = group.layers[0].weight
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
    ("budget", "n_kept"), [(1 << 30, NOTED), (NOTED * NOTE - 1, NOTED - 1), (0, 0)]
)
def test_the_dense_network_runs_again_only_if_something_did_not_fit(
    sessions: list[str], budget: int, n_kept: int
) -> None:
    kept = KeptObservations(budget)
    for _ in range(3):
        list(calibrated(kept, 0.5))
        assert kept.n_kept == n_kept
    assert len(sessions) == (1 if n_kept == NOTED else 3)


@pytest.mark.parametrize("budget", [1 << 30, 3 * NOTE])
def test_sums_are_the_same_to_the_last_bit(budget: int) -> None:
    kept = KeptObservations(budget)
    list(calibrated(kept, 0.5))
    for again, alone in zip(calibrated(kept, 0.25), calibrated(None, 0.25), strict=True):
        for one, other in zip(again, alone, strict=True):
            assert np.array_equal(one, other)


def test_what_is_cleared_is_made_again_within_the_same_budget() -> None:
    kept = KeptObservations(8)
    for _ in range(2):
        assert kept.keep("a", 0, np.ones(1))
        assert not kept.keep("a", 1, np.ones(1))
        found = kept.find("a", 0)
        assert found is not None
        assert found == 1
        kept.clear()
        assert kept.n_kept == 0
        assert kept.find("a", 0) is None
