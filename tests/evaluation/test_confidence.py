"""What a drop is below with 95 % confidence: against brute force, exact coverage, and Wilson."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from onnx_lobs.evaluation.confidence import (
    CONFIDENT,
    gains_given,
    least_upper,
    upper_difference,
    upper_drop,
)


@pytest.mark.parametrize(
    ("losses", "gains", "n"), [(1, 0, 373), (2, 2, 373), (0, 3, 50), (30, 12, 400), (7, 1, 20)]
)
@pytest.mark.parametrize("difference", [0.002, 0.05, 0.4])
def test_gains_given_a_difference_have_the_greatest_likelihood(
    losses: int, gains: int, n: int, difference: float
) -> None:
    def cost(p: float) -> float:
        rest = 1 - 2 * p - difference
        with np.errstate(divide="ignore"):
            logs = np.log([p + difference, p, rest])
        counts = np.array([losses, gains, n - losses - gains])
        return -float(counts[counts > 0] @ logs[counts > 0])

    best = minimize_scalar(
        cost, bounds=(0, (1 - difference) / 2), method="bounded", options={"xatol": 1e-9}
    )
    # the likelihood is flat at its top: differences of 1e-6 are below its rounding
    assert gains_given(losses, gains, n, difference) == pytest.approx(best.x, abs=1e-6)


@pytest.mark.parametrize("losses", [0, 1, 5, 40])
@pytest.mark.parametrize("n", [41, 125, 1000])
def test_without_gains_it_is_wilsons_limit_of_one_share(losses: int, n: int) -> None:
    p, z2 = losses / n, CONFIDENT**2
    spread = CONFIDENT * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    expected = (p + z2 / (2 * n) + spread) / (1 + z2 / n)
    assert upper_difference(losses, 0, n) == pytest.approx(expected, rel=1e-6)
    if losses == 0:
        assert upper_difference(0, 0, n) == pytest.approx(least_upper(n), rel=1e-6)


def test_nothing_is_above_one() -> None:
    assert upper_difference(20, 0, 20) == 1.0
    # by symmetry one less twice the share that Wilson's limit of 20 of 20 leaves: about z²/(n + z²)
    assert upper_difference(0, 20, 20) == pytest.approx(-1 + 2 * least_upper(20), abs=1e-3)


@pytest.mark.parametrize(("loss", "gain"), [(0.02, 0.0), (0.02, 0.01), (0.05, 0.02), (0.2, 0.1)])
def test_the_true_difference_is_below_it_in_95_of_100_cases(loss: float, gain: float) -> None:
    """Exact, by summing over the outcomes of 200 samples."""
    n, covered, naive = 200, 0.0, 0.0
    counts = np.arange(111)  # more have a probability of less than 1e-12
    changed = binom.pmf(counts, n, loss + gain)
    for count, weight in zip(counts, changed, strict=True):
        chances = binom.pmf(np.arange(count + 1), count, loss / (loss + gain))
        for losses, chance in enumerate(chances):
            if weight * chance < 1e-9:
                continue
            gains = int(count) - losses
            drop = (losses - gains) / n
            error = np.sqrt(((losses + gains) / n - drop**2) / n)
            covered += weight * chance * (upper_difference(losses, gains, n) >= loss - gain)
            naive += weight * chance * (drop + CONFIDENT * error >= loss - gain)
    assert 0.935 <= covered <= 0.985  # counts are whole, so it cannot be 0.95 everywhere
    assert naive < covered


def test_hits_are_counted_as_losses_and_gains() -> None:
    before = np.concatenate([np.ones(5), np.zeros(2), np.ones(193)])
    after = np.concatenate([np.zeros(5), np.ones(2), np.ones(193)])
    assert upper_drop(before, after).drop == upper_difference(5, 2, 200)
    assert upper_drop(before, after).unchanged == least_upper(200)
    assert upper_drop(before, before).drop == pytest.approx(least_upper(200), rel=1e-6)


def test_other_scores_go_by_the_standard_error_of_the_differences() -> None:
    rng = np.random.default_rng(0)
    # of samples of a normal variable whose mean is the limit, each lets it pass in 5 % of cases
    n, cases = 400, 4000
    before = rng.normal(0.5, 2.0, (cases, n))
    after = before - rng.normal(0.3, 1.0, (cases, n))
    passed = np.mean([upper_drop(*pair).drop <= 0.3 for pair in zip(before, after, strict=True)])
    # four standard errors of the share of cases
    assert passed == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / cases))
    same = upper_drop(before[0], before[0])  # no change is no matter of hits here
    assert (same.drop, same.unchanged) == (0.0, 0.0)
