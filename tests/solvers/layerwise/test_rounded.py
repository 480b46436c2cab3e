"""A solved layer is rounded by its own moments: fewer errors on its data than by plain rounding."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from onnx_lobs.arrays import FloatArray
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Calibration, Moments, TargetMoments
from onnx_lobs.solvers.layerwise import (
    ErrorMeter,
    LayerTask,
    round_layer,
    rounded_only,
    solve_layer,
)

ROWS, COLUMNS, SAMPLES = 24, 32, 2000
MUCH_LESS = 0.8  # of what plain rounding adds; 0.72 here, as much as inputs have in common
BIAS_ROUNDING = 1e-9  # of a bias change that is computed twice


def moments(x: FloatArray) -> Moments:
    gram = Gram(1, COLUMNS)
    gram.update(x[None])
    return Moments(gram)


def make_task(method: str = "joint", *, rounds: bool = True) -> LayerTask:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((SAMPLES, COLUMNS)) @ rng.standard_normal((COLUMNS, COLUMNS)) + 1.0
    weight = rng.standard_normal((1, ROWS, COLUMNS))
    calibration = Calibration((moments(x[:1800]),), (moments(x[1800:]),))
    of_row = np.arange(ROWS)[None] if rounds else None
    return LayerTask(weight, calibration, (True,), weight.size // 2, method=method, scale_of=of_row)


def by_nearest(weight: FloatArray) -> FloatArray:
    scale = np.abs(weight).max(axis=2, keepdims=True) / 127
    return np.rint(weight / scale) * scale


@pytest.mark.parametrize("method", ["joint", "magnitude", "lobs", "sparsegpt"])
def test_every_method_ends_in_multiples_of_its_scales(method: str) -> None:
    outcome = solve_layer(make_task(method))
    assert outcome.scales is not None
    steps = outcome.weight[0] / outcome.scales[:, None].astype(np.float64)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    assert (outcome.weight == 0).sum() >= make_task().n_prune


def test_rounding_adds_less_error_than_plain_rounding_does() -> None:
    task = make_task(rounds=False)
    free = solve_layer(task)
    rounded = solve_layer(dataclasses.replace(task, scale_of=np.arange(ROWS)[None]))
    meter = ErrorMeter(task)
    errors = [
        meter.relative_error(weight, change)
        for weight, change in (
            (free.weight, free.bias_change),
            (rounded.weight, rounded.bias_change),
            (by_nearest(free.weight), free.bias_change),
        )
    ]
    assert errors[1] - errors[0] < MUCH_LESS * (errors[2] - errors[0])


def test_zeros_are_those_of_the_layer_without_rounding() -> None:
    free, rounded = solve_layer(make_task(rounds=False)), solve_layer(make_task())
    assert (rounded.weight[free.weight == 0] == 0).all()


def test_the_bias_takes_up_what_rounding_does_to_the_mean() -> None:
    task = make_task()
    outcome = rounded_only(task)
    (change,) = outcome.bias_change
    fitted = task.calibration.fit[0]
    assert change is not None
    moved = np.einsum("grd,gd->gr", task.weight - outcome.weight, fitted.inputs.mean)
    assert 0.99 < float(np.vdot(change, moved) / np.vdot(moved, moved)) < 1 + BIAS_ROUNDING


def test_only_rounding_keeps_every_zero_and_makes_hardly_any() -> None:
    task = make_task()
    weight = task.weight.copy()
    weight[:, :, ::2] = 0
    outcome = rounded_only(dataclasses.replace(task, weight=weight))
    assert (outcome.weight[:, :, ::2] == 0).all()
    assert (outcome.weight == 0).mean() < 0.52


def shifted(task: LayerTask, *, held: bool = True) -> LayerTask:
    """The task, on inputs that differ from those that its targets were made of, as behind zeros."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((SAMPLES, COLUMNS)) @ rng.standard_normal((COLUMNS, COLUMNS))
    seen = x.copy()
    seen[:, ::4] = 0.5 * x[:, 1::4]  # what the layers in front made of some inputs
    parts = [aimed(seen[part], x[part], task.weight) for part in (slice(1800), slice(1800, None))]
    nothing = Moments(Gram(1, COLUMNS))
    last = parts[1] if held else nothing
    return dataclasses.replace(task, n_prune=0, calibration=Calibration((parts[0],), (last,)))


def aimed(seen: FloatArray, x: FloatArray, weight: FloatArray) -> Moments:
    gram, target = Gram(1, COLUMNS), TargetMoments.zeros(1, ROWS, COLUMNS)
    target.update(np.asarray(x @ weight[0].T)[None], gram.update(seen[None]))
    return Moments(gram, target)


def test_a_layer_that_is_only_rounded_is_refitted_to_the_dense_outputs() -> None:
    task = shifted(make_task())
    meter = ErrorMeter(task)
    plain, fitted = rounded_only(task), round_layer(task)
    assert (fitted.weight != 0).sum() > 0.95 * task.weight.size
    errors = [meter.relative_error(each.weight, each.bias_change) for each in (plain, fitted)]
    assert errors[1] < 0.9 * errors[0]


@pytest.mark.parametrize("kept", ["no refit", "nothing held out", "nothing to gain"])
def test_a_layer_is_not_refitted_where_that_is_not_known_to_help(kept: str) -> None:
    task = (
        make_task() if kept == "nothing to gain" else shifted(make_task(), held="out" not in kept)
    )
    task = dataclasses.replace(task, refit=False if kept == "no refit" else None)
    np.testing.assert_array_equal(round_layer(task).weight, rounded_only(task).weight)
