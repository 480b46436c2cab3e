"""Steps are relative to sizes, follow one schedule, and reach a minimum."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_lobs.run.retraining.optimiser import FLOOR, LEAST_SIZE, OPTIMISERS, rate_at, size_of

NAMES = sorted(OPTIMISERS)


@pytest.mark.parametrize("name", NAMES)
def test_a_quadratic_is_brought_to_its_minimum(name: str) -> None:
    goal, x, steps = np.array([1.0, -2.0, 3.0]), np.zeros(3), 300
    optimiser = OPTIMISERS[name]()
    for step in range(steps):
        x = x + 0.1 * rate_at(step, steps) * optimiser.moves({"x": x - goal})["x"]
    np.testing.assert_allclose(x, goal, atol=0.02)  # steps end at a fifth of that


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_steps_do_not_depend_on_the_size_of_the_loss(name: str, factor: float) -> None:
    rng = np.random.default_rng(0)
    one, other = OPTIMISERS[name](), OPTIMISERS[name]()
    for _ in range(5):
        gradient = rng.standard_normal(4)
        moves = one.moves({"x": gradient})["x"]
        scaled = other.moves({"x": factor * gradient})["x"]
    np.testing.assert_allclose(moves, scaled, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_step_goes_against_the_gradient_by_about_one(name: str) -> None:
    gradient = np.array([3.0, -3.0])
    moves = OPTIMISERS[name]().moves({"x": gradient})["x"]
    np.testing.assert_allclose(moves, [-1, 1], rtol=FLOOR)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("small", [1e-25, 1e-30])
def test_a_gradient_far_below_the_others_makes_a_small_step(name: str, small: float) -> None:
    gradient = np.array([1, small, -1], np.float32)
    assert abs(OPTIMISERS[name]().moves({"x": gradient})["x"][1]) < 1e-20


@pytest.mark.parametrize("name", NAMES)
def test_gradients_too_small_to_be_squared_in_float32_make_steps_of_one(name: str) -> None:
    gradient = np.array([1e-25, -1e-25], np.float32)
    moves = OPTIMISERS[name]().moves({"x": gradient})["x"]
    np.testing.assert_allclose(moves, [-1, 1], rtol=FLOOR)


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_no_step(name: str) -> None:
    assert not OPTIMISERS[name]().moves({"x": np.zeros(3)})["x"].any()


@pytest.mark.parametrize("steps", [1, 2, 10, 200])
def test_the_rate_rises_to_one_and_falls_towards_zero(steps: int) -> None:
    rates = [rate_at(step, steps) for step in range(steps)]
    assert max(rates) == 1
    assert all(rate > 0 for rate in rates)
    top = rates.index(1)
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_the_rate_stays_full_as_long_as_it_is_told_to() -> None:
    rates = [rate_at(step, 200, 120) for step in range(200)]
    assert rates[10:121] == [1] * 111
    assert 0 < rates[-1] < rates[121] < 1


def test_the_size_of_a_tensor_is_that_of_what_is_not_zero() -> None:
    assert size_of(np.array([0, 3.0, 0, -3.0])) == 3
    assert size_of(np.zeros(3)) == LEAST_SIZE
