"""Takes the steps: batches in a random order, a look at held-out data, the best state kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.batches import Batches
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.retraining.aims import Targets
from onnx_lobs.run.retraining.network import TrainedNetwork
from onnx_lobs.run.retraining.optimiser import OPTIMISERS, rate_at, size_of

LOOKS = 20  # at the held-out data, over all steps
PATIENCE = 6  # looks without a gain, after which training ends


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Batches and what they are trained towards."""

    batches: Batches
    targets: Targets


@dataclass(frozen=True)
class Course:
    """How the steps are taken.

    Parameters
    ----------
    steps
        Most that are taken.
    rate
        Largest relative step.
    optimiser
        A key of OPTIMISERS.
    seed
        Of the batches' order.
    """

    steps: int
    rate: float
    optimiser: str
    seed: int


@dataclass(frozen=True, eq=False)
class Trained:
    """What came of it.

    Parameters
    ----------
    values
        Of every tensor that moved, at the best look.
    losses
        On the held-out data: the step, and the loss after it; the first is step 0.
    best
        The step of `values`; 0: nothing was better than before.
    """

    values: Mapping[str, Array]
    losses: tuple[tuple[int, float], ...]
    best: int


def train(
    network: TrainedNetwork,
    fitted: TrainingSet,
    held: TrainingSet,
    course: Course,
    progress: Progress,
) -> Trained:
    """Train, and return the state with the least loss on the held-out data.

    The state before is one of those compared, so the result is never worse there. Training ends
    before its last step where PATIENCE looks bring no gain, or a loss is not finite.

    Notes
    -----
    Deterministic for a seed, as far as onnxruntime is. Cost per step: a forward and a backward pass
    of one batch; 20 forward passes over the held-out data.
    """
    optimiser, rng = OPTIMISERS[course.optimiser](), np.random.default_rng(course.seed)
    values = {tensor.name: tensor.start.copy() for tensor in network.tensors}
    sizes = {name: size_of(value) for name, value in values.items()}
    best, kept = 0, dict(values)
    losses = [(0, _held_loss(network, held, values))]
    every, since, order = max(1, course.steps // LOOKS), 0, np.zeros(0, np.int64)
    progress.start("retraining", course.steps)
    for step in range(course.steps):
        if not order.size:
            order = rng.permutation(len(fitted.batches))
        index, order = int(order[0]), order[1:]
        gradients = _gradients(network, fitted, index, values)
        if gradients is None:
            break
        rate = course.rate * rate_at(step, course.steps)
        moves = optimiser.moves(gradients)
        for tensor in network.tensors:
            name = tensor.name
            values[name] = values[name] + tensor.kept * (rate * sizes[name] * moves[name])
        progress.advance()
        if (step + 1) % every and step + 1 < course.steps:
            continue
        losses.append((step + 1, _held_loss(network, held, values)))
        since += 1
        if losses[-1][1] < min(loss for _, loss in losses[:-1]):
            best, kept, since = step + 1, dict(values), 0
        if since >= PATIENCE or not math.isfinite(losses[-1][1]):
            break
    return Trained(kept, tuple(losses), best)


def _gradients(
    network: TrainedNetwork, fitted: TrainingSet, index: int, values: Mapping[str, Array]
) -> dict[str, Array] | None:
    """Return the gradients on one batch; None where the loss or one of them is not finite."""
    feeds = fitted.batches.load(index)
    targets = fitted.targets.of(index, feeds, network.shaped(feeds).shapes)
    loss, gradients = network.step(feeds, targets, values)
    is_finite = math.isfinite(loss) and all(np.isfinite(g).all() for g in gradients.values())
    return gradients if is_finite else None


def _held_loss(network: TrainedNetwork, held: TrainingSet, values: Mapping[str, Array]) -> float:
    """Return the mean loss over all samples of the held-out data."""
    total = 0.0
    for index, size in enumerate(held.batches.sizes):
        feeds = held.batches.load(index)
        targets = held.targets.of(index, feeds, network.shaped(feeds).shapes)
        total += size * network.loss(feeds, targets, values)
    return total / held.batches.n_samples
