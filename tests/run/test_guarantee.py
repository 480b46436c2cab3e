"""Bounds in a run: asked for with --bound, shown, and never below what was measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from build_onnx import branch, model, normal, value
from onnx import helper
from rich.console import Console

import onnx_lobs
from onnx_lobs.errors import InferenceError, ModelError
from onnx_lobs.report.progress import Silent
from onnx_lobs.report.record import BoundRecord, OutputRecord
from onnx_lobs.report.text import render_report
from onnx_lobs.run import guarantee
from onnx_lobs.run.log import Log
from onnx_lobs.run.one_run import Run
from onnx_lobs.run.setup import open_run
from onnx_lobs.run.zeros import Choice

MNIST = Path(__file__).parents[2] / "models" / "mnist"
FAST = {
    "samples": 300,
    "batch_size": 100,
    "method": "magnitude",
    "bound": True,
    "allocation": "uniform",
}
ROUNDING = 1 + 1e-4  # two ways to sum in float32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sparsity", "sequential"),
    [
        ("lenet-300-100", 0.3, False),
        ("lenet-300-100", 0.5, True),
        ("lenet-300-100", 0.9, True),
        ("lenet-5", 0.5, False),
        ("lenet-5", 0.9, True),
    ],
)
def test_bound_of_a_trained_network_holds(name: str, sparsity: float, sequential: bool) -> None:
    report = onnx_lobs.prune(
        MNIST / f"{name}.onnx", sparsity=sparsity, sequential=sequential, **FAST
    ).report
    output = report.output
    (record,) = output.bounds
    assert record.measured is not None
    assert record.measured == pytest.approx(output.error, rel=1e-3)
    assert record.bound is not None
    assert record.measured <= record.bound * ROUNDING
    assert record.missing == ()
    assert len(record.layers) == sum(layer.zeros > 0 for layer in report.layers)
    if sparsity <= 0.5:
        assert output.linear is not None
        assert 0.5 < output.linear / record.measured < 2


@pytest.mark.slow
def test_nothing_is_bounded_unless_asked_for() -> None:
    report = onnx_lobs.prune(MNIST / "lenet-300-100.onnx", **FAST | {"bound": False}).report
    assert report.output.bounds == ()
    assert report.output.linear is None


def test_layers_in_branches_have_neither_bound_nor_prediction() -> None:
    then = branch([helper.make_node("MatMul", ["h", "w"], ["t"])], "t", w=normal(1, 16, 16))
    other = branch([helper.make_node("Neg", ["h"], ["e"])], "e")
    nodes = [
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node("If", ["yes"], ["y"], name="choice", then_branch=then, else_branch=other),
    ]
    yes = normal(0, dtype=bool).reshape(())
    proto = model(nodes, [value("x", [None, 16])], [value("y", [None, 16])], {"yes": yes | True})
    batches = [{"x": normal(i, 40, 16)} for i in range(3)]
    report = onnx_lobs.prune(proto, batches, method="magnitude", bound=True).report
    (record,) = report.output.bounds
    assert record.bound is None
    assert record.measured is None
    assert record.missing == ("choice: If has subgraphs",)
    assert report.output.linear is None


def test_a_model_too_large_for_two_gets_a_warning() -> None:
    config = onnx_lobs.PruneConfig(**FAST)
    setup, networks = open_run(MNIST / "lenet-300-100.onnx", None, None, config, Log())
    staged = dataclasses.replace(networks, limit=1000)
    run = Run(setup, staged, Choice({}), (), None, OutputRecord(0.1), None, Log())
    assert guarantee.with_bounds(run, Silent()) is run
    assert "exceed their share of --memory" in run.log.warnings[0]


@pytest.mark.slow
def test_bounds_are_shown() -> None:
    report = onnx_lobs.prune(MNIST / "lenet-300-100.onnx", **FAST).report
    bounds = (
        BoundRecord("logits", 0.5, 0.01, {"fc1": 0.4}, ()),
        BoundRecord("best", None, None, {}, ("pick: ArgMax has no rule",)),
        BoundRecord("far", None, 0.25, {}, ("a: Round has no rule", "b: Round has no rule")),
    )
    output = dataclasses.replace(report.output, linear=0.02, bounds=bounds)
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(render_report(dataclasses.replace(report, output=output)))
    text = captured.get()
    assert "0.0200 foreseen from the layers' errors" in text
    assert "logits: at most 0.500 (measured 0.0100), on these data" in text
    assert "best: none: pick: ArgMax has no rule" in text
    assert "far: none (measured 0.250): a: Round has no rule; b: Round has no rule" in text


@pytest.mark.slow
@pytest.mark.parametrize("error", [ModelError("too large"), InferenceError("no memory")])
def test_what_cannot_be_bounded_does_not_cost_the_run(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(guarantee, "bound_outputs", fails)
    report = onnx_lobs.prune(MNIST / "lenet-300-100.onnx", **FAST).report
    assert report.output.bounds == ()
    assert f"no bound was computed: {error}" in report.warnings
