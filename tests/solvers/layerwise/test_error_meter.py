"""Errors by sums are those on the data, and finite."""

from __future__ import annotations

import json

import numpy as np
import pytest
from build_onnx import model, normal, value
from layer_tasks import COLUMNS, ROWS, Array, inputs, split, task_of
from onnx import helper

import onnx_lobs
from onnx_lobs.solvers.layerwise import ErrorMeter, solve_layer

# float64 sums of 400 products: the Gram form loses about 1e-12 of the energy to cancellation
SAME = 1e-9


def measured(x: Array, y: Array, value: Array, change: Array | None, centred: bool) -> float:
    out = x @ value.transpose(0, 2, 1)
    if change is not None:
        out = out + change[:, None, :]
    energy = np.square(y - y.mean(axis=1, keepdims=True) if centred else y).sum()
    return float(np.square(out - y).sum() / energy)


@pytest.mark.parametrize("method", ["joint", "magnitude", "lobs"])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("towards", [False, True])
@pytest.mark.parametrize("centred", [False, True])
def test_relative_error_is_the_error_on_the_data(
    method: str, groups: int, towards: bool, centred: bool
) -> None:
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((groups, ROWS, COLUMNS))
    x = inputs(2, groups=groups)
    clean = x + 0.1 * rng.standard_normal(x.shape)
    y = (clean if towards else x) @ weight.transpose(0, 2, 1)
    task = task_of([split(x, y if towards else None)], weight, centred, method=method)
    outcome = solve_layer(task)
    predicted = ErrorMeter(task).relative_error(outcome.weight, outcome.bias_change)
    change = outcome.bias_change[0]
    assert predicted == pytest.approx(
        measured(x, y, outcome.weight, change, centred), rel=SAME, abs=SAME
    )


def test_a_layer_that_gives_zero_has_error_zero() -> None:
    weight = np.zeros((1, ROWS, COLUMNS))
    task = task_of([split(inputs(21))], weight, True)
    assert ErrorMeter(task).relative_error(weight, (None,)) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("samples", [1, 40])
@pytest.mark.parametrize("method", ["joint", "magnitude"])
def test_layers_whose_outputs_do_not_vary_have_finite_errors(samples: int, method: str) -> None:
    nodes = [
        helper.make_node("Gemm", ["c", "w1", "b1"], ["h"], name="steady"),
        helper.make_node("Gemm", ["x", "w2", "b2"], ["g"], name="other"),
        helper.make_node("Add", ["h", "g"], ["y"]),
    ]
    weights = {
        "w1": normal(1, 16, 8), "b1": normal(2, 8), "w2": normal(3, 16, 8), "b2": normal(4, 8),
    }  # fmt: skip
    proto = model(nodes, [value("c", ["n", 16]), value("x", ["n", 16])], ["y"], weights)
    steady = np.repeat(normal(5, 1, 16), samples, axis=0)
    data = {"c": steady, "x": normal(6, samples, 16)}
    refit = {} if method == "joint" else {"refit": False}
    report = onnx_lobs.prune(proto, data, sparsity=0.5, method=method, **refit).report
    (layer,) = [one for one in report.layers if one.name == "steady"]
    for error in (layer.error, layer.magnitude_error):
        assert 0 <= error < 2  # of the mean square; of the variance it was infinite, or 1e15
    json.loads(report.to_json())
