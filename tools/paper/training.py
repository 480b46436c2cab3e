"""Trains a whole network on labels by the project's own derivatives, with masks that may change.

``onnx_lobs.retrain`` keeps the zeros of a pruned network. The systems of this folder need more:
weights that are zero in the forward pass and move all the same (pruning and splicing), and all
weights at once (reactivation). Gradients, optimisers and rates are those of
:mod:`onnx_lobs.run.retraining`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from onnx_lobs.arrays import Array, BoolArray
from onnx_lobs.graph.derivatives.observed import observe
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.source import as_source
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.retraining.aims import class_aim
from onnx_lobs.run.retraining.network import TrainedNetwork
from onnx_lobs.run.retraining.opened import open_networks
from onnx_lobs.run.retraining.optimiser import MomentumDescent, rate_at, size_of
from onnx_lobs.run.retraining.parameters import MovingTensor, find_small, find_weights
from paper.networks import INPUT, Mnist, tensors_of, with_tensors

CLASSES = 10
Values = Mapping[str, Array]
Masks = Mapping[str, BoolArray]


@dataclass(frozen=True)
class LabelCourse:
    """How a training runs.

    Parameters
    ----------
    steps
        All that will be taken.
    rate
        Largest relative step.
    batch
        Images of a step.
    decay
        Part of every weight that is taken off at a full step: the penalty on squares.
    seed
        Of the order of images, and of whatever else is drawn.
    """

    steps: int
    rate: float
    batch: int = 64
    decay: float = 0.0
    seed: int = 0


def one_hot(labels: Array) -> Array:
    """Return (n, 10) float32."""
    return np.eye(CLASSES, dtype=np.float32)[labels]


class LabelTraining:
    """Gives the loss's gradients in all weights and biases of a network, zero or not.

    Parameters
    ----------
    model
        The network. Not modified.
    mnist
        Images and labels.
    course
        Its batch and seed.
    """

    def __init__(self, model: onnx.ModelProto, mnist: Mnist, course: LabelCourse) -> None:
        self.model, self.mnist, self.batch = model, mnist, course.batch
        opened = open_networks(load_model(as_source(model)), None, PruneConfig())
        execution = opened.pruned
        layers, _ = find_layers(execution, LayerFilter(depthwise=True))
        found = (*find_weights(execution, layers), *find_small(execution, layers))
        tensors = [MovingTensor(t.name, t.start, np.ones_like(t.kept), t.layer) for t in found]
        feeds = {INPUT: mnist.images[: self.batch]}
        observed = observe(execution, feeds, provider=opened.provider)
        aim = class_aim(execution, opened.finals, observed, by_labels=True)
        self.network = TrainedNetwork(execution, (aim,), tensors, opened.provider)
        self.start = {tensor.name: tensor.start for tensor in tensors}
        self._rng, self._order = np.random.default_rng(course.seed), np.zeros(0, np.int64)

    def gradients(self, values: Values) -> dict[str, Array]:
        """Return the gradients on the next batch, at these values."""
        if len(self._order) < self.batch:
            self._order = self._rng.permutation(len(self.mnist.images))
        some, self._order = self._order[: self.batch], self._order[self.batch :]
        feeds = {INPUT: self.mnist.images[some]}
        return self.network.step(feeds, [one_hot(self.mnist.labels[some])], values)[1]


def masked(values: Values, masks: Masks) -> dict[str, Array]:
    """Return the values with zeros where a mask is False."""
    return {name: v * masks[name] if name in masks else v for name, v in values.items()}


class Descent:
    """Takes steps of one training: a rate that rises, then falls as half a cosine.

    Parameters
    ----------
    training
        Gives gradients.
    values
        To begin with. Not modified.
    course
        Its steps, rate and decay.
    """

    def __init__(self, training: LabelTraining, values: Values, course: LabelCourse) -> None:
        self.training, self.course = training, course
        self.values = dict(values)
        self.taken = 0
        self._sizes = {name: size_of(value) for name, value in values.items()}
        self._optimiser = MomentumDescent()

    def step(self, forward: Masks, moving: Masks) -> None:
        """Take a step: masks of the forward pass, and of what moves (absent: all of a tensor)."""
        gradients = self.training.gradients(masked(self.values, forward))
        rate = self.course.rate * rate_at(self.taken, self.course.steps)
        moves = self._optimiser.moves(masked(gradients, moving))
        for name, move in moves.items():
            shrink = self.course.decay * rate if self.values[name].ndim > 1 else 0.0
            there = moving.get(name, np.True_)
            change = rate * self._sizes[name] * move - shrink * self.values[name]
            self.values[name] = (self.values[name] + there * change).astype(np.float32)
        self.taken += 1


def train_survivors(
    model: onnx.ModelProto, masks: Masks, mnist: Mnist, course: LabelCourse
) -> onnx.ModelProto:
    """Return the network after a training in which what the masks leave out stays zero."""
    training = LabelTraining(model, mnist, course)
    descent = Descent(training, masked(training.start, masks), course)
    for _ in range(course.steps):
        descent.step(masks, masks)
    return with_tensors(model, masked(descent.values, masks))


def magnitudes_below(model: onnx.ModelProto, kept: Mapping[str, float]) -> dict[str, BoolArray]:
    """Return masks that keep a share of each weight's largest values, by the weight's name."""
    values = tensors_of(model)
    return {name: largest(np.abs(values[name]), share) for name, share in kept.items()}


def largest(scores: Array, share: float) -> BoolArray:
    """Return True at a share of the largest scores; of equal ones the first are kept."""
    n_kept = round(share * scores.size)
    order = np.argsort(-scores, axis=None, kind="stable")
    mask = np.zeros(scores.size, bool)
    mask[order[:n_kept]] = True
    return mask.reshape(scores.shape)
