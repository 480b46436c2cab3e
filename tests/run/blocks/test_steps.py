"""A fit goes as far as held-out samples say, and nowhere where that gains too little."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnx_lobs.data.batches import Batches
from onnx_lobs.report.progress import Silent
from onnx_lobs.run.blocks.steps import LOOKS, SHARES, STEPS, Pace, take_steps
from onnx_lobs.run.retraining.parameters import MovingTensor
from onnx_lobs.run.retraining.training import Course, TrainingSet, train

START = np.ones(2, np.float32)
RATE = 0.1
FAR, NEAR = 3.0, 1.3  # goals: steps lead beyond the near one by the first look


class Bowl:
    """Stands for a network: its loss is the squared distance of one tensor to a batch's goal."""

    tensors = (MovingTensor("w", START, np.ones(2, bool)),)

    def shaped(self, feeds: Any) -> Any:
        """Return what has shapes."""
        return type("Shaped", (), {"shapes": {}})

    def loss(self, feeds: Any, targets: Any, values: Any) -> float:
        """Return the loss of the values."""
        return float(((values["w"] - feeds["goal"]) ** 2).sum())

    def step(self, feeds: Any, targets: Any, values: Any) -> tuple[float, dict[str, Any]]:
        """Return loss and gradient."""
        return self.loss(feeds, targets, values), {"w": 2 * (values["w"] - feeds["goal"])}


class NoTargets:
    """Stands for targets."""

    def of(self, *_: Any) -> tuple[()]:
        """Return none."""
        return ()


def towards(goal: float) -> Any:
    """Return one batch with a goal."""
    batches = Batches(lambda i: {"goal": np.float32(goal)}, (1,), "a goal")
    return TrainingSet(batches, NoTargets())  # type: ignore[arg-type]


def test_the_part_of_the_way_is_taken_that_is_best_on_held_out_samples() -> None:
    bowl: Any = Bowl()
    course = Course(STEPS, RATE, "adam", 0, looks=LOOKS)
    done = train(bowl, towards(FAR), towards(NEAR), course, Silent())
    found = take_steps(bowl, towards(FAR), towards(NEAR), Pace(RATE, 0.0, 0))
    ways = [START + share * (done.values["w"] - START) for share in (1.0, *SHARES)]
    losses = [float(((way - NEAR) ** 2).sum()) for way in ways]
    assert losses[0] == pytest.approx(min(loss for _, loss in done.losses))
    best = int(np.argmin(losses))
    assert best > 0  # not all of it
    np.testing.assert_allclose(found["w"], ways[best], rtol=1e-6)  # float32


@pytest.mark.parametrize(("goal", "least_gain"), [(NEAR, 1.0), (1 / NEAR, 0.0)])
def test_what_gains_too_little_or_nothing_changes_nothing(goal: float, least_gain: float) -> None:
    bowl: Any = Bowl()
    assert take_steps(bowl, towards(FAR), towards(goal), Pace(RATE, least_gain, 0)) == {}


def test_all_of_the_way_is_taken_where_what_is_held_out_is_as_far() -> None:
    bowl: Any = Bowl()
    course = Course(STEPS, RATE, "adam", 0, looks=LOOKS)
    done = train(bowl, towards(FAR), towards(FAR), course, Silent())
    found = take_steps(bowl, towards(FAR), towards(FAR), Pace(RATE, 0.02, 0))
    np.testing.assert_array_equal(found["w"], done.values["w"])
