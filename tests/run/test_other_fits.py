"""The output error of few samples is that of fits which have not seen them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from build_onnx import Array, model, normal, value
from onnx import ModelProto
from onnx.helper import make_node

import onnx_lobs
from onnx_lobs.errors import ConfigError
from onnx_lobs.report.text import render_report
from onnx_lobs.run.other_fits import ENOUGH, FEW
from onnx_lobs.run.outcome import NOTHING_HELD

EVEN: dict[str, Any] = {"allocation": "uniform", "sparsity": 0.6, "min_weights": 1}
FIXED: dict[str, Any] = {**EVEN, "method": "magnitude", "damp": 0.01, "correct": False}
CHANNELS: dict[str, Any] = {
    "pattern": "channels", "channel_choice": "l2", "align": 1, "allocation": "uniform",
    "sparsity": 0.5, "damp": 0.01, "correct": False,
}  # fmt: skip
ROUNDING = 1e-3  # of an error: other fits are refitted in float32


def mlp(seed: int = 0) -> ModelProto:
    nodes = [
        make_node("Gemm", ["x", "w1", "b1"], ["a"]),
        make_node("Relu", ["a"], ["r"]),
        make_node("MatMul", ["r", "w2"], ["y"]),
    ]
    weights = {
        "w1": normal(seed, 24, 16),
        "b1": normal(seed + 1, 16),
        "w2": normal(seed + 2, 16, 8),
    }
    return model(nodes, [value("x", ["n", 24])], [value("y", ["n", 8])], weights)


def points(seed: int, n: int) -> Array:
    """Return correlated inputs: of most directions few samples show next to nothing."""
    spread = normal(99, 24, 24) * (0.8 ** np.arange(24))[:, None]
    return (normal(seed, n, 24) @ spread + 0.3).astype(np.float32)


def outputs(proto: ModelProto, x: Array) -> Array:
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return np.asarray(session.run(None, {"x": x})[0], dtype=np.float64)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(FIXED, id="zeros"),
        pytest.param(CHANNELS, id="channels", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(("n", "size"), [(10, 1), (30, 3)])
def test_every_sample_is_judged_by_a_network_that_was_pruned_without_it(
    n: int, size: int, options: dict[str, Any]
) -> None:
    """Compared with runs whose data are turned so that others are held out."""
    x = points(1, n)
    told = onnx_lobs.prune(mlp(), x, **options).report.output
    dense = outputs(mlp(), x)
    n_fits = min(10, -(-ENOUGH // size))
    assert (told.n_fits, told.n_held) == (n_fits, n_fits * size)
    firsts = [0, *(1 + i * 9 // (n_fits - 1) for i in range(n_fits - 1))]
    change = energy = 0.0
    for first in firsts:
        order = np.roll(np.arange(n), -first * size)
        pruned = onnx_lobs.prune(mlp(), x[order], **options).model
        left_out = order[-size:]
        change += float(np.square(outputs(pruned, x) - dense)[left_out].sum())
        energy += float(np.square(dense)[left_out].sum())
    assert told.error == pytest.approx(change / energy, rel=ROUNDING)


def test_enough_samples_are_judged_by_one_fit() -> None:
    told = onnx_lobs.prune(mlp(), points(1, FEW), **FIXED).report.output
    assert (told.n_fits, told.n_held) == (1, FEW // 10)


@pytest.mark.parametrize("sequential", [True, False])
@pytest.mark.parametrize("n", [10, 30])
def test_the_reported_error_is_within_a_factor_of_two_of_the_true_one(
    n: int, sequential: bool
) -> None:
    """Means over networks and draws: of a single draw the true error itself is random."""
    reported, true = [], []
    for seed in range(4):
        dense, fresh = mlp(10 * seed), points(1000, 400)
        result = onnx_lobs.prune(dense, points(seed, n), **EVEN, sequential=sequential)
        assert result.report.output.error is not None
        reported.append(result.report.output.error)
        expected = outputs(dense, fresh)
        change = np.square(outputs(result.model, fresh) - expected).sum()
        true.append(float(change / np.square(expected).sum()))
    assert 0.5 < np.mean(reported) / np.mean(true) < 2


@pytest.mark.parametrize("data", [points(1, 1), [{"x": points(1, 40)}]], ids=["one", "one batch"])
def test_what_was_fitted_whole_has_no_known_error(data: Any) -> None:
    report = onnx_lobs.prune(mlp(), data, **EVEN).report
    assert (report.output.error, report.output.n_held) == (None, 0)
    assert report.output.fitted_error is not None
    assert NOTHING_HELD in report.warnings
    from rich.console import Console

    console = Console(width=200)
    with console.capture() as text:
        console.print(render_report(report))
    assert "not known, as no sample was left out" in text.get()


@pytest.mark.parametrize("data", [points(1, 1), [{"x": points(1, 40)}]], ids=["one", "one batch"])
def test_a_limit_on_the_error_of_what_was_fitted_whole_is_refused(data: Any) -> None:
    options = {key: value for key, value in EVEN.items() if key != "sparsity"}
    with pytest.raises(ConfigError, match="needs samples that nothing was fitted to"):
        onnx_lobs.prune(mlp(), data, max_output_error=0.01, **options)


@pytest.mark.slow
def test_a_limit_on_few_samples_is_kept_on_others() -> None:
    """Within the factor of two that the reported error is right to."""
    limit, fresh = 0.05, points(1000, 400)
    options = {key: value for key, value in EVEN.items() if key != "sparsity"}
    result = onnx_lobs.prune(mlp(), points(3, 32), max_output_error=limit, **options)
    expected = outputs(mlp(), fresh)
    change = np.square(outputs(result.model, fresh) - expected).sum()
    assert change / np.square(expected).sum() < 2 * limit
    assert result.report.target is not None
    assert result.report.target.is_met
