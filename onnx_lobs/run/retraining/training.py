"""Takes the steps: batches in a random order, a look at held-out data, the best state kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.data.batches import Batches
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.retraining.network import TrainedNetwork
from onnx_lobs.run.retraining.optimiser import OPTIMISERS, rate_at, size_of
from onnx_lobs.run.retraining.thinning import Thinning

LOOKS = 20  # at the held-out data, over all steps
PATIENCE = 3  # looks without a gain, after which training goes back to the best state
SLOWER = 0.25  # of the rate, from there on
MOST_RETURNS = 3  # after which it ends


class TargetsOfBatches(Protocol):
    """Gives what the values of a batch are compared with."""

    def of(
        self, index: int, feeds: Feeds, shapes: Mapping[str, tuple[int, ...]]
    ) -> Sequence[Array]:
        """Return the targets of one batch, an array for each aim."""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Batches and what they are trained towards."""

    batches: Batches
    targets: TargetsOfBatches


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
    gather
        Batches of one step, whose gradients are averaged.
    decay
        Part of every weight that a step of rate 1 takes off.
    looks
        At the held-out data, over all steps.
    """

    steps: int
    rate: float
    optimiser: str
    seed: int
    gather: int = 1
    decay: float = 0.0
    looks: int = LOOKS


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
    thinning: Thinning | None = None,
) -> Trained:
    """Train, and return the state with the least loss on the held-out data.

    The state before is one of those compared, so the result is never worse there. Where PATIENCE
    looks bring no gain, or a loss is not finite, training goes back to the best state and on with
    steps a quarter as large; after MOST_RETURNS such returns the next one ends it. With a thinning
    only states that have all its zeros are compared, and the rate is full until they are there.

    Notes
    -----
    Deterministic for a seed, as far as onnxruntime is. Cost per step: a forward and a backward pass
    of one batch; for each look a forward pass over the held-out data.
    """
    descent = _Descent(network, fitted, course, thinning)
    until = 0 if thinning is None else thinning.until
    losses = [(0, held_loss(network, held, descent.values))]
    best, kept, since, returns = 0, dict(descent.values), 0, 0
    every = max(1, course.steps // course.looks)
    progress.start("retraining", course.steps)
    for step in range(1, course.steps + 1):
        is_finite = descent.step(step, rate_at(step - 1, course.steps, until))
        progress.advance()
        if is_finite and step % every and step not in (until, course.steps):
            continue
        # look at the held-out data; from too large a step go back, and on with smaller ones
        losses.append((step, held_loss(network, held, descent.values) if is_finite else math.inf))
        since += 1
        least = min((loss for at, loss in losses[:-1] if at >= until), default=math.inf)
        if losses[-1][1] < least:  # and any where there are none with all zeros yet
            best, kept, since = step, dict(descent.values), 0
        if since >= PATIENCE or not math.isfinite(losses[-1][1]):
            returns, since = returns + 1, 0
            kept = descent.go_back(kept)
        if returns > MOST_RETURNS:
            break
    # where no loss was finite with all zeros, they are due all the same
    if thinning is not None and best < until:
        thinning.thin(until, kept)
        best, kept = losses[-1][0], thinning.applied(kept)
        losses[-1] = (best, held_loss(network, held, kept))
    return Trained(kept, tuple(losses), best)


class _Descent:
    """The present values, the optimiser, and the order in which batches come."""

    def __init__(
        self,
        network: TrainedNetwork,
        fitted: TrainingSet,
        course: Course,
        thinning: Thinning | None,
    ) -> None:
        self.network, self.fitted, self.course = network, fitted, course
        self._thinning = thinning
        self.values = {tensor.name: tensor.start.copy() for tensor in network.tensors}
        self._sizes = {name: size_of(value) for name, value in self.values.items()}
        self._optimiser = OPTIMISERS[course.optimiser]()
        self._rng = np.random.default_rng(course.seed)
        self._order: list[int] = []
        self._part = 1.0

    def step(self, step: int, part: float) -> bool:
        """Take a step with a part of the full rate; False, and no move, if a value is infinite.

        Steps count from 1. Weights that are due behind it go in any case.
        """
        gradients = self._gathered()
        if gradients is not None:
            self._move(gradients, self.course.rate * part * self._part)
        if self._thinning is not None and self._thinning.is_due(step):
            self._thinning.thin(step, self.values)
            self.values = self._thinning.applied(self.values)
            self._sizes = {name: size_of(value) for name, value in self.values.items()}
        return gradients is not None

    def _move(self, gradients: Mapping[str, Array], rate: float) -> None:
        if self._thinning is not None:
            gradients = self._thinning.applied(gradients)
            self._thinning.see(gradients)
        moves = self._optimiser.moves(gradients)
        for tensor in self.network.tensors:
            name = tensor.name
            move = tensor.kept * (rate * self._sizes[name] * moves[name])
            decay = 0.0 if tensor.layer is None else rate * self.course.decay
            self.values[name] = ((1 - decay) * self.values[name] + move).astype(np.float32)
        if self._thinning is not None:
            self.values = self._thinning.applied(self.values)

    def _gathered(self) -> dict[str, Array] | None:
        """Return the mean gradients of the next batches, weighted by their samples."""
        total: dict[str, Array] = {}
        chosen = [self._next() for _ in range(self.course.gather)]
        sizes = [self.fitted.batches.sizes[index] for index in chosen]
        for index, size in zip(chosen, sizes, strict=True):
            found = _gradients(self.network, self.fitted, index, self.values)
            if found is None:
                return None
            share = size / sum(sizes)
            for name, gradient in found.items():
                total[name] = total.get(name, 0) + (gradient * np.float32(share))
        return total

    def _next(self) -> int:
        """Return the next batch of a random order, in which each comes once."""
        if not self._order:
            self._order = self._rng.permutation(len(self.fitted.batches)).tolist()
        return int(self._order.pop())

    def go_back(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Begin again at a state, with smaller steps and no memory of gradients; return it.

        Weights that went since then stay away.
        """
        self.values, self._part = dict(values), self._part * SLOWER
        if self._thinning is not None:
            self.values = self._thinning.applied(self.values)
        self._optimiser = OPTIMISERS[self.course.optimiser]()
        return dict(self.values)


def _gradients(
    network: TrainedNetwork, fitted: TrainingSet, index: int, values: Mapping[str, Array]
) -> dict[str, Array] | None:
    """Return the gradients on one batch; None where the loss or one of them is not finite."""
    feeds = fitted.batches.load(index)
    targets = fitted.targets.of(index, feeds, network.shaped(feeds).shapes)
    loss, gradients = network.step(feeds, targets, values)
    is_finite = math.isfinite(loss) and all(np.isfinite(g).all() for g in gradients.values())
    return gradients if is_finite else None


def held_loss(network: TrainedNetwork, held: TrainingSet, values: Mapping[str, Array]) -> float:
    """Return the mean loss over all samples of the held-out data."""
    total = 0.0
    for index, size in enumerate(held.batches.sizes):
        feeds = held.batches.load(index)
        targets = held.targets.of(index, feeds, network.shaped(feeds).shapes)
        total += size * network.loss(feeds, targets, values)
    return total / held.batches.n_samples
