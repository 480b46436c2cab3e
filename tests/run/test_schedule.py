"""Which groups are calibrated when: passes, stages, and what the report says of them."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from build_onnx import Array, model, normal, run, value
from onnx import ModelProto, helper

import onnx_lobs
from onnx_lobs.layers.layer import Layer
from onnx_lobs.linalg import compiled
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.run import layer_step as steps
from onnx_lobs.run import modes, solve_all
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup

NODE = helper.make_node
WIDTH = 160
SMALL: dict[str, Any] = {
    "sparsity": 0.5, "allocation": "uniform", "batch_size": 8, "memory": 1 << 20,
}  # fmt: skip
OTHER_ORDER = 1e-3  # of an error: float32 sums in another order may turn a few of 12,800 zeros
ROUNDING = 1e-4  # of the largest output: float32 sums over other cuts of the graph


def network(*, tied: bool = False) -> ModelProto:
    """Three layers whose weights, 100 KB each, exceed a share of 256 KiB, as one Gram does."""
    second = "w1" if tied else "w2"
    nodes = [
        NODE("MatMul", ["x", "w1"], ["a"], name="one"),
        NODE("Relu", ["a"], ["ra"]),
        NODE("MatMul", ["ra", second], ["b"], name="two"),
        NODE("Relu", ["b"], ["rb"]),
        NODE("MatMul", ["rb", "w3"], ["y"], name="three"),
    ]
    weights = {f"w{i}": normal(i, WIDTH, WIDTH) / 9 for i in (1, 2, 3)}
    if tied:
        del weights["w2"]
        weights["w3"] = normal(3, WIDTH, 2 * WIDTH) / 9
    return model(nodes, [value("x", [None, WIDTH])], ["y"], weights)


def data() -> dict[str, Array]:
    return {"x": normal(9, 64, WIDTH)}


@pytest.mark.slow
@pytest.mark.parametrize("sequential", [False, True])
def test_a_tied_layer_of_a_model_in_stages_is_pruned_as_in_memory(sequential: bool) -> None:
    options = {**SMALL, "method": "sparsegpt", "sequential": sequential}
    staged = onnx_lobs.prune(network(tied=True), data(), **options)
    whole = onnx_lobs.prune(network(tied=True), data(), **{**options, "memory": None})
    assert [layer.zeros for layer in staged.report.layers] == [WIDTH**2 // 2, WIDTH**2]
    found, expected = (run(result.model, **data())["y"] for result in (staged, whole))
    assert np.abs(found - expected).max() <= ROUNDING * np.abs(expected).max()


@pytest.mark.slow
def test_grams_beyond_their_share_take_passes_that_the_report_tells() -> None:
    """One weight of 100 KB fits in a session; its Grams of 614 KB exceed 256 KiB."""
    nodes = [NODE("MatMul", ["x", f"w{i}"], [f"y{i}"], name=f"layer{i}") for i in (1, 2)]
    nodes[1].input[0] = "y1"
    weights = {f"w{i}": normal(i, WIDTH, WIDTH) / 9 for i in (1, 2)}
    proto = model(nodes, [value("x", [None, WIDTH])], ["y2"], weights)
    options = {**SMALL, "sequential": False, "method": "sparsegpt"}
    found = onnx_lobs.prune(proto, data(), **options)
    told = [w for w in found.report.warnings if "passes" in w]
    assert len(told) == 1
    assert "calibration took 2 passes over the data" in told[0]
    assert "(that of layer1, layer2 alone does)" in told[0]
    plain = onnx_lobs.prune(proto, data(), **{**options, "memory": None})
    assert not [w for w in plain.report.warnings if "passes" in w]


@pytest.mark.slow
def test_layers_that_need_more_than_half_of_the_memory_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("onnx_lobs.run.schedule.LEAST_SOLVER", 1)
    monkeypatch.setattr(steps, "LEAST_SOLVER", 1)
    report = onnx_lobs.prune(network(), data(), method="magnitude", **SMALL).report
    assert any("solving one, two, three may take more than half" in w for w in report.warnings)
    assert all(layer.zeros == WIDTH**2 // 2 for layer in report.layers)


@pytest.mark.slow
def test_loops_of_networks_that_are_not_small_are_compiled_as_the_report_says(monkeypatch) -> None:
    if not compiled.is_available():
        pytest.skip("Numba is not installed (extra speed)")
    options = {"sparsity": 0.5, "allocation": "uniform", "method": "exact-obs"}
    small = onnx_lobs.prune(network(), data(), **options)
    monkeypatch.setattr(modes, "COMPILED_FROM", 3 * WIDTH**2)
    large = onnx_lobs.prune(network(), data(), **options)
    assert small.report.loops is None
    assert large.report.loops == compiled.version()
    tight = onnx_lobs.prune(network(), data(), memory=modes.COMPILED_MEMORY - 1, **options)
    assert tight.report.loops is None
    errors = [[layer.error for layer in r.report.layers] for r in (small, large)]
    np.testing.assert_allclose(*errors, rtol=OTHER_ORDER)


@pytest.mark.slow
def test_the_largest_gram_is_solved_last_and_reported_in_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    solved: list[str] = []
    alive: list[int] = []

    def note(
        setup: Setup, networks: Networks, layer: Layer, calibration: Calibration, n_prune: int
    ) -> steps.Solved:
        solved.append(layer.name)
        gc.collect()
        alive.append(sum(isinstance(it, Calibration) for it in gc.get_objects()))
        return steps.solve_one(setup, networks, layer, calibration, n_prune)

    monkeypatch.setattr(solve_all, "solve_one", note)
    nodes = [
        NODE("MatMul", ["x", "w1"], ["a"], name="one"),
        NODE("MatMul", ["a", "w2"], ["b"], name="two"),
        NODE("MatMul", ["b", "w3"], ["y"], name="three"),
    ]
    weights = {"w1": normal(1, 24, 40), "w2": normal(2, 40, 12), "w3": normal(3, 12, 16)}
    proto = model(nodes, [value("x", [None, 24])], ["y"], weights)
    options: dict[str, Any] = {"sequential": False, "allocation": "uniform"}
    report = onnx_lobs.prune(proto, {"x": normal(4, 64, 24)}, sparsity=0.5, **options).report
    assert solved == ["three", "one", "two"]  # of 12, 24 and 40 inputs
    # the moments of the others wait or are gone; those of a layer are passed on as a part of them
    assert [alive[0] - count for count in alive] == [0, 1, 2]
    assert [layer.name for layer in report.layers] == ["one", "two", "three"]
