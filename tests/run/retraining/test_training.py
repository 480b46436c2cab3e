"""Training keeps the best state on held-out data, and goes back from steps that are too large."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnx_lobs.data.batches import Batches
from onnx_lobs.report.progress import ProgressCalls, Silent
from onnx_lobs.run.retraining.parameters import MovingTensor
from onnx_lobs.run.retraining.thinning import Thinning
from onnx_lobs.run.retraining.training import Course, Trained, TrainingSet, train

GOAL = np.array([1.0, 0.0, -2.0], np.float32)
START = np.array([2.0, 0.0, 1.0], np.float32)
NEAR = 0.01  # the rate falls to 0; what is left is a fifth of that
NEAR_IN_NOISE = 0.15  # gradients have noise of 1, which steps do not average out at once
LAYER: Any = object()  # whose weight it is does not matter


class Bowl:
    """Stands for a network: its loss is the squared distance of one tensor to a goal."""

    def __init__(self, broken: bool = False) -> None:
        self.tensors = (MovingTensor("w", START, START != 0),)
        self.broken, self.orders = broken, list[int]()

    def shaped(self, feeds: Any) -> Any:
        """Return what has shapes."""
        return type("Shaped", (), {"shapes": {}})

    def loss(self, feeds: Any, targets: Any, values: Any) -> float:
        """Return the loss of the values."""
        return float(((values["w"] - GOAL) ** 2).sum())

    def step(self, feeds: Any, targets: Any, values: Any) -> tuple[float, dict[str, Any]]:
        """Return loss and gradient."""
        self.orders.append(int(feeds["x"]))
        loss = np.inf if self.broken else self.loss(feeds, targets, values)
        return loss, {"w": 2 * (values["w"] - GOAL)}


class NoTargets:
    """Stands for targets."""

    def of(self, *_: Any) -> tuple[()]:
        """Return none."""
        return ()


def trained(
    bowl: Bowl, progress: Any = None, thinning: Thinning | None = None, **course: Any
) -> Trained:
    """Train a bowl."""
    batches = Batches(lambda i: {"x": np.array(i)}, (1,) * 5, "numbers")
    some: Any = TrainingSet(batches, NoTargets())  # type: ignore[arg-type]
    made = Course(**{"steps": 100, "rate": 0.1, "optimiser": "adam", "seed": 0, **course})
    network: Any = bowl
    return train(network, some, some, made, progress or Silent(), thinning)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_a_minimum_is_reached(optimiser: str) -> None:
    found = trained(Bowl(), optimiser=optimiser)
    np.testing.assert_allclose(found.values["w"], GOAL, atol=NEAR)
    assert found.best > 0


def test_what_was_zero_stays_zero() -> None:
    assert trained(Bowl()).values["w"][1] == 0


def test_the_state_kept_has_the_least_loss_of_all_that_were_looked_at() -> None:
    found = trained(Bowl(), rate=1.0)
    losses = dict(found.losses)
    assert losses[found.best] == min(losses.values())
    assert Bowl().loss({}, (), found.values) == pytest.approx(losses[found.best])


def test_too_large_a_rate_is_made_smaller() -> None:
    found = trained(Bowl(), rate=1.0, steps=400)
    assert dict(found.losses)[found.best] < 0.05 * found.losses[0][1]


def test_a_loss_that_is_not_finite_ends_it_with_the_state_before() -> None:
    found = trained(Bowl(broken=True))
    np.testing.assert_array_equal(found.values["w"], START)
    assert found.best == 0
    assert len(found.losses) == 5  # the state before, and four returns


def test_batches_come_in_a_new_order_each_time_and_none_twice() -> None:
    bowl = Bowl()
    trained(bowl, steps=10)
    first, second = bowl.orders[:5], bowl.orders[5:10]
    assert sorted(first) == sorted(second) == list(range(5))
    assert first != second


def test_every_step_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    trained(Bowl(), ProgressCalls(lambda *seen: told.append(seen)), steps=4)
    assert told[-1] == ("retraining", 4, 4)


def test_a_step_takes_several_batches_and_each_comes_once() -> None:
    bowl = Bowl()
    trained(bowl, steps=5, gather=2)
    assert sorted(bowl.orders) == sorted([*range(5)] * 2)


def test_gathered_batches_move_as_one_does_where_all_say_the_same() -> None:
    one, three = trained(Bowl(), steps=20), trained(Bowl(), steps=20, gather=3)
    np.testing.assert_allclose(one.values["w"], three.values["w"], rtol=1e-5)


class WeightBowl(Bowl):
    """Stands for a network whose tensor is a weight, and no bias."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors = (MovingTensor("w", START, START != 0, layer=LAYER),)


def test_decay_brings_weights_nearer_to_zero_and_leaves_biases_alone() -> None:
    plain, small = trained(WeightBowl(), steps=400), trained(WeightBowl(), steps=400, decay=0.5)
    assert np.linalg.norm(small.values["w"]) < 0.99 * np.linalg.norm(plain.values["w"])
    bias, same = trained(Bowl(), steps=50), trained(Bowl(), steps=50, decay=0.5)
    np.testing.assert_array_equal(bias.values["w"], same.values["w"])


WIDE_GOAL = np.array([3.0, 2.0, 0.01, 1.0, 0.02, 0.0], np.float32)


class WideBowl(Bowl):
    """Stands for a network of six weights, of which the goal needs three."""

    def __init__(self, broken_from: int | None = None) -> None:
        super().__init__()
        start = np.array([1.0, 1, 1, 1, 1, 0], np.float32)
        self.tensors = (MovingTensor("w", start, start != 0, layer=LAYER),)
        self.broken_from, self.taken = broken_from, 0
        self.noise = np.random.default_rng(0)

    def loss(self, feeds: Any, targets: Any, values: Any) -> float:
        """Return the loss of the values."""
        return float(((values["w"] - WIDE_GOAL) ** 2).sum())

    def step(self, feeds: Any, targets: Any, values: Any) -> tuple[float, dict[str, Any]]:
        """Return loss and gradient, infinite from one step on."""
        self.taken += 1
        broken = self.broken_from is not None and self.taken > self.broken_from
        loss = np.inf if broken else self.loss(feeds, targets, values)
        gradient = 2 * (values["w"] - WIDE_GOAL) + self.noise.standard_normal(6).astype(np.float32)
        return loss, {"w": gradient * self.tensors[0].kept}


def thinned(bowl: WideBowl, sparsity: float = 0.5, **course: Any) -> Trained:
    """Train a bowl, and thin it on the way."""
    thinning = Thinning(bowl.tensors, {"w"}, sparsity, course.get("steps", 100))
    return trained(bowl, thinning=thinning, **course)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_weights_that_are_needed_stay_and_reach_their_goal(optimiser: str) -> None:
    found = thinned(WideBowl(), steps=400, optimiser=optimiser)
    np.testing.assert_array_equal(found.values["w"] != 0, [1, 1, 0, 1, 0, 0])
    np.testing.assert_allclose(found.values["w"], WIDE_GOAL, atol=NEAR_IN_NOISE)


def test_only_states_with_all_their_zeros_are_compared() -> None:
    bowl = WideBowl()
    found = thinned(bowl, sparsity=4 / 6)  # one of those needed goes, so all before are better
    losses = dict(found.losses)
    late = {step: loss for step, loss in losses.items() if step >= 60}
    assert min(losses.values()) < min(late.values())
    assert losses[found.best] == min(late.values())
    assert bowl.loss({}, (), found.values) == pytest.approx(losses[found.best])
    assert np.count_nonzero(found.values["w"]) == 2


@pytest.mark.parametrize("broken_from", [0, 3, 50, 70])
def test_zeros_are_there_even_where_losses_are_not_finite(broken_from: int) -> None:
    bowl = WideBowl(broken_from)
    found = thinned(bowl)
    assert np.count_nonzero(found.values["w"]) == 3
    assert found.best > 0
    assert bowl.loss({}, (), found.values) == pytest.approx(dict(found.losses)[found.best])
