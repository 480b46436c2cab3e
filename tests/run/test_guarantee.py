"""Bounds in a run: asked for with --bound, shown, and never below what was measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from build_onnx import branch, model, normal, value
from onnx import helper
from rich.console import Console

import onnx_lobs
from onnx_lobs.errors import InferenceError, ModelError
from onnx_lobs.report.progress import Silent
from onnx_lobs.report.record import BoundRecord, LayerRecord, OutputRecord, Report, Totals
from onnx_lobs.report.text import render_report
from onnx_lobs.run import guarantee
from onnx_lobs.run.log import Log
from onnx_lobs.run.one_run import Run
from onnx_lobs.run.setup import open_run
from onnx_lobs.run.zeros import Choice

MNIST = Path(__file__).parents[2] / "models" / "mnist"
LENET = MNIST / "lenet-300-100.onnx"
FAST: dict[str, Any] = {
    "samples": 300,
    "batch_size": 100,
    "method": "magnitude",
    "bound": True,
    "allocation": "uniform",
}
LAYERS = tuple(
    LayerRecord(name, "Gemm", 100, 50, 0.01, 0.02, "solved", 1.0, first_order=share)
    for name, share in (("fc1", 0.0125), ("fc2", 0.00625), ("fc3", None))
)
ROUNDING = 1 + 1e-4  # two ways to sum in float32
SHARE = 0.1  # ReLUs that a change of 30 % of the zeros turns, and what layers before it change


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
    assert is_between(record.measured, output)
    assert record.bound is not None
    assert record.measured <= record.bound * ROUNDING
    assert record.missing == ()
    assert len(record.layers) == sum(layer.zeros > 0 for layer in report.layers)
    if sparsity <= 0.5:
        assert output.first_order is not None
        assert 0.5 < output.first_order / record.measured < 2


def is_between(error: float, output: OutputRecord, share: float = 1e-3) -> bool:
    """Whether an error on all samples lies between those of fitted and of held-out ones."""
    assert output.error is not None
    assert output.fitted_error is not None
    low, high = sorted((output.error, output.fitted_error))
    return low * (1 - share) <= error <= high * (1 + share)


@pytest.mark.slow
def test_a_layers_prediction_is_the_error_of_pruning_it_alone() -> None:
    options = FAST | {"sequential": False, "sparsity": 0.3}
    for record in onnx_lobs.prune(LENET, **options).report.layers:
        alone = onnx_lobs.prune(LENET, include=(record.name,), **options).report
        assert alone.layers[0].zeros == record.zeros
        assert record.first_order is not None
        assert is_between(record.first_order, alone.output, SHARE)


@pytest.mark.slow
def test_nothing_is_bounded_unless_asked_for() -> None:
    report = onnx_lobs.prune(LENET, **FAST | {"bound": False}).report
    assert report.output.bounds == ()
    assert report.output.first_order is None


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
    assert record.measured is not None
    assert is_between(record.measured, report.output)
    assert record.missing == ("choice: If has no rule",)
    assert [layer.first_order for layer in report.layers] == [None]
    assert report.output.first_order is None


def opened(**changes: int) -> Run:
    """A run of which nothing was done yet."""
    setup, networks = open_run(LENET, None, None, onnx_lobs.PruneConfig(**FAST), Log())
    networks = dataclasses.replace(networks, **changes)
    return Run(
        setup,
        networks,
        Choice({}),
        {r.name: r for r in LAYERS},
        None,
        OutputRecord(0.1),
        None,
        Log(),
    )


def test_a_model_too_large_for_two_gets_a_warning() -> None:
    run = opened(limit=1000)
    assert guarantee.with_bounds(run, Silent()) is run
    assert "exceed their share of --memory" in run.log.warnings[0]


def test_bounds_are_shown() -> None:
    bounds = (
        BoundRecord("logits", 0.5, 0.01, {"fc1": 0.4}, ()),
        BoundRecord("best", None, None, {}, ("pick: ArgMax has no rule",)),
        BoundRecord("far", None, 0.25, {}, ("a: Round has no rule", "b: Round has no rule")),
    )
    output = OutputRecord(0.01, first_order=0.02, bounds=bounds)
    report = Report("m.onnx", {}, "m.npz", LAYERS, (), Totals(300, 150, 1.0), output)
    console = Console(width=80, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(render_report(report))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if "Gemm" in line]
    assert [row[8] for row in rows] == ["0.0125", "0.00625", "-"]
    text = " ".join(" ".join(lines).split())
    assert "0.0200 predicted from the layers' errors" in text
    assert "logits: at most 0.500 (measured 0.0100), on these data" in text
    assert "best: none: pick: ArgMax has no rule" in text
    assert "far: none (measured 0.250): a: Round has no rule; b: Round has no rule" in text


@pytest.mark.parametrize("error", [ModelError("too large"), InferenceError("no memory")])
def test_what_cannot_be_bounded_does_not_cost_the_run(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(guarantee, "bound_network", fails)
    run = opened()
    assert guarantee.with_bounds(run, Silent()) is run
    assert run.log.warnings == (f"no bound was computed: {error}",)
