"""Takes the steps of a fit to the dense network, and goes as far as held-out samples say.

A part of a network and the whole are fitted alike; how large a step is, and what gain is one, they
say themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.report.progress import Silent
from onnx_lobs.run.retraining.network import TrainedNetwork
from onnx_lobs.run.retraining.training import Course, Trained, TrainingSet, held_loss, train

STEPS, LOOKS = 60, 10
SHARES = (0.5, 0.25)  # of the way from the least-squares weights, or the whole: the best is taken


@dataclass(frozen=True)
class Pace:
    """How a fit goes.

    Parameters
    ----------
    rate
        Largest relative step.
    least_gain
        Of the loss on held-out samples, a part; with less nothing changes.
    seed
        Of the order of the batches.
    """

    rate: float
    least_gain: float
    seed: int


def take_steps(
    network: TrainedNetwork, fitted: TrainingSet, held: TrainingSet, pace: Pace
) -> Mapping[str, Array]:
    """Return the values of what moves where the loss on held-out samples is least.

    They lie on the way from the values before; none where that gains too little.
    """
    course = Course(STEPS, pace.rate, "adam", pace.seed, looks=LOOKS)
    done = train(network, fitted, held, course, Silent())
    loss, values = _pulled(network, held, done)
    return values if loss < (1 - pace.least_gain) * done.losses[0][1] else {}


def _pulled(
    network: TrainedNetwork, held: TrainingSet, done: Trained
) -> tuple[float, Mapping[str, Array]]:
    """Return the least loss on the way from the values before, and the values there."""
    best = (min(loss for _, loss in done.losses), done.values if done.best else {})
    for share in SHARES if done.best else ():
        values = {
            t.name: (t.start + share * (done.values[t.name] - t.start)).astype(np.float32)
            for t in network.tensors
        }
        loss = held_loss(network, held, values)
        if loss < best[0]:
            best = (loss, values)
    return best
