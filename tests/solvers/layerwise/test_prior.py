"""Few observations: drawn moments against their formula, and errors on data that were not seen."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from onnx_lobs.arrays import FloatArray
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Calibration, Moments, TargetMoments
from onnx_lobs.solvers.layerwise import LayerTask, magnitude_weight, solve_layer
from onnx_lobs.solvers.layerwise.prior import STRENGTH, TAILS, drawn_sums
from onnx_lobs.solvers.layerwise.sums import add_up

ROWS, COLUMNS, RANK = 8, 96, 12
SAME = 1e-9  # of float64 sums of some hundred products
WORST = 1.05  # of magnitude's error, on data not seen


def images(rng: np.random.Generator, n: int) -> FloatArray:
    """Return positive inputs (n, COLUMNS) of which few directions vary much, as pixels do."""
    basis = np.random.default_rng(0).standard_normal((RANK, COLUMNS))
    noise = 0.3 * rng.standard_normal((n, COLUMNS))
    return np.asarray(np.maximum(rng.standard_normal((n, RANK)) @ basis / 4 + noise, 0.0))


def moments(x: FloatArray, y: FloatArray | None = None) -> Moments:
    gram = Gram(1, x.shape[1])
    centred = gram.update(x[None])
    if y is None:
        return Moments(gram)
    targets = TargetMoments.zeros(1, y.shape[1], x.shape[1])
    if len(x):
        targets.update(y[None], centred)
    return Moments(gram, targets)


def task_of(
    weight: FloatArray, fit: FloatArray, held: FloatArray, *, centred: bool, target: bool
) -> LayerTask:
    parts = [moments(x, x @ weight.T if target else None) for x in (fit, held)]
    calibration = Calibration((parts[0],), (parts[1],))
    return LayerTask(weight[None], calibration, (centred,), weight.size // 2)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("target", [False, True])
def test_drawn_sums_follow_their_formula(centred: bool, target: bool) -> None:
    rng = np.random.default_rng(1)
    weight, fit, held = rng.standard_normal((ROWS, COLUMNS)), images(rng, 60), images(rng, 20)
    sums = drawn_sums(
        task := task_of(weight, fit, held, centred=centred, target=target), task.calibration.fit
    )
    n, kept = len(fit), 1 - 1 / len(fit)
    # the moments about the part of the mean that the bias takes up
    x = fit - (kept * fit.mean(axis=0) if centred else 0.0)
    second = x.T @ x / n
    # two independent estimates: var(fit) = v / 60 and var(held) = v / 20
    about = fit.mean(axis=0)
    one, other, own = ((part - about).T @ (part - about) / len(part) for part in (fit, held, fit))
    noise = ((one - other) ** 2).sum() / (1 / 60 + 1 / 20) / n
    share = STRENGTH * noise / ((own**2).sum() - (own.diagonal() ** 2).sum())
    variance = second.diagonal()
    spread, chance = variance.var(), TAILS * (variance**2).mean() / (n + TAILS)
    own = max(0.0, 1 - chance / spread)
    expected = variance.mean() + own * (variance - variance.mean())
    drawn = (1 - share) * second + share * np.diag(expected)
    assert 0 < share < STRENGTH
    np.testing.assert_allclose(sums.scatter[0], n * drawn, rtol=SAME, atol=SAME * n)
    np.testing.assert_allclose(sums.cross[0], n * weight @ drawn, rtol=SAME, atol=SAME * n)
    energy = n * np.einsum("rd,de,re->r", weight, drawn, weight)
    np.testing.assert_allclose(sums.energies[0], energy, rtol=SAME)


@pytest.mark.slow
def test_many_observations_are_left_nearly_as_they_are() -> None:
    rng = np.random.default_rng(2)
    weight, fit, held = (
        rng.standard_normal((ROWS, COLUMNS)), images(rng, 40_000), images(rng, 4_000)
    )  # fmt: skip
    task = task_of(weight, fit, held, centred=True, target=False)
    drawn = drawn_sums(task, task.calibration.fit).scatter
    plain = add_up(task.calibration.fit, task.centred, task.weight).scatter
    # noise of 1 / 40,000 of the moments, of which STRENGTH is taken
    assert np.abs(drawn - plain).max() <= 1e-3 * np.abs(plain).max()


@pytest.mark.slow
@pytest.mark.parametrize("samples", [1, 2, 3, 10, 30, 100])
@pytest.mark.parametrize("target", [False, True])
@pytest.mark.parametrize("method", ["joint", "sparsegpt"])
def test_few_samples_are_never_worse_than_magnitude_on_others(
    samples: int, target: bool, method: str
) -> None:
    rng = np.random.default_rng(3)
    weight, fresh = rng.standard_normal((ROWS, COLUMNS)), images(rng, 5_000)
    seen = images(rng, samples)
    cut = samples - samples // 10 if samples > 1 else samples
    task = task_of(weight, seen[:cut], seen[cut:], centred=True, target=target)
    found = solve_layer(dataclasses.replace(task, method=method))
    assert found.bias_change[0] is not None
    error = fresh @ (weight - found.weight[0]).T - found.bias_change[0][0]
    plain = fresh @ (weight - magnitude_weight(task)[0]).T
    assert (error**2).sum() <= WORST * (plain**2).sum()


def test_an_input_that_has_not_varied_yet_keeps_weights_that_matter() -> None:
    rng = np.random.default_rng(4)
    weight = rng.standard_normal((ROWS, COLUMNS))
    weight[:, 5] = 50.0  # by far the largest
    seen = images(rng, 4)
    seen[:, 5] = 0.0
    task = task_of(weight, seen[:3], seen[3:], centred=True, target=True)
    assert (solve_layer(task).weight[0, :, 5] != 0).all()


def test_a_weight_that_is_read_alone_counts_as_inputs_that_come_one_at_a_time() -> None:
    rng = np.random.default_rng(7)
    x, weight = rng.standard_normal((500, 9)), rng.standard_normal((4, 9))
    task = task_of(weight, x, x[:0], centred=False, target=False)
    plain = drawn_sums(task, task.total_moments())
    energy = plain.diagonal.mean()
    found = drawn_sums(dataclasses.replace(task, read_alone=0.3), task.total_moments())
    alone = np.sqrt(0.3 * energy) * np.eye(9)
    expected = add_up([moments(alone)], [False], weight[None])
    assert found.scatter == pytest.approx(plain.scatter + expected.scatter, rel=1e-6)
    assert found.cross == pytest.approx(plain.cross + expected.cross, rel=1e-6)
    assert found.energy == pytest.approx(plain.energy + expected.energy, rel=1e-6)
