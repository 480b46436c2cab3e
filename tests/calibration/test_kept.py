"""What the dense network gives in its stages is made once for several runs, as far as it fits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from build_onnx import Array, model, normal, value
from onnx import ModelProto, helper

from onnx_lobs.calibration import sequential
from onnx_lobs.calibration.groups import make_groups
from onnx_lobs.calibration.kept import KeptStages
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.tensors import write_tensor
from onnx_lobs.layers.find import find_layers

NODE = helper.make_node
CPU = "CPUExecutionProvider"
BATCHES = 3


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


def calibrated(kept: KeptStages | None, scale: float) -> Iterator[tuple[Array, Array]]:
    """Yield the sums of each layer, whose weights become `scale` times as large."""
    dense, pruned = Model(network(), None), Model(network(), None)
    groups = make_groups(find_layers(dense)[0])
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
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An entry for each run of a stage that has nodes, of either network."""
    seen: list[str] = []
    call = sequential._Lazy.__call__

    def counted(self: sequential._Lazy, feeds: sequential.Feeds) -> dict[str, Array]:
        if self.stage.nodes:
            seen.append("run")
        return call(self, feeds)

    monkeypatch.setattr(sequential._Lazy, "__call__", counted)
    return seen


@pytest.mark.parametrize(("budget", "spared"), [(1 << 30, 2 * BATCHES), (8 * 7 * 4, 1), (0, 0)])
def test_a_second_run_makes_only_what_did_not_fit(
    runs: list[str], budget: int, spared: int
) -> None:
    kept = KeptStages(budget)
    list(calibrated(kept, 0.5))
    first = len(runs)
    runs.clear()
    list(calibrated(kept, 0.25))
    assert first - len(runs) == spared == kept.n_kept


def test_sums_are_the_same_to_the_last_bit() -> None:
    kept = KeptStages(1 << 30)
    list(calibrated(kept, 0.5))
    for again, alone in zip(calibrated(kept, 0.25), calibrated(None, 0.25), strict=True):
        for one, other in zip(again, alone, strict=True):
            assert np.array_equal(one, other)


def test_what_is_cleared_is_made_again_within_the_same_budget() -> None:
    kept = KeptStages(8)
    made = iter([np.ones(1), np.zeros(1), np.zeros(1)])
    for _ in range(2):
        assert kept.outputs(3, 0, lambda: {"a": next(made)})["a"] == 1
    kept.clear()
    assert kept.n_kept == 0
    assert kept.outputs(3, 0, lambda: {"a": next(made)})["a"] == 0
    assert kept.n_kept == 1


def test_sequences_of_arrays_count_by_their_parts() -> None:
    kept = KeptStages(40)
    for batch, n in enumerate((3, 2)):
        kept.outputs(0, batch, lambda n=n: {"s": [np.ones(n), np.ones(1)]})
    assert kept.n_kept == 1  # 32 bytes, and then 24 more
