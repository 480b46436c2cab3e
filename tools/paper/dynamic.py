"""Trains networks whose zeros change in training: pruning and splicing (DNS), and skinny networks.

DNS: Guo, Yao, Chen 2016 (arXiv 1608.04493). A weight below a threshold is left out of the forward
pass and trained all the same; above a higher one it comes back. Skinny networks: Jin, Yuan, Feng,
Yan 2016 (arXiv 1607.05423). The largest weights alone are trained, then all, in turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx

from onnx_lobs.arrays import Array, BoolArray
from paper.networks import Mnist, with_tensors
from paper.training import Descent, LabelCourse, LabelTraining, largest, masked

LOW, HIGH = 0.9, 1.1  # times the threshold: below LOW a weight goes, above HIGH it comes
GAMMA, POWER = 1e-4, 1.0  # how fast masks come to rest: chance (1 + GAMMA * step)^-POWER
REST = 0.75  # of all steps, after which masks stay as they are
ROUNDS = 3  # of a skinny network


@dataclass(frozen=True)
class Threshold:
    """Of one weight: mu + c sigma, from the mean and deviation of its first magnitudes."""

    mean: float
    deviation: float
    factor: float

    @property
    def value(self) -> float:
        """The threshold, at least 0."""
        return max(self.mean + self.factor * self.deviation, 0.0)


def threshold_for(weight: Array, share: float) -> Threshold:
    """Return the threshold above which a share of the first magnitudes lies."""
    size = np.abs(weight)
    mean, deviation = float(size.mean()), float(size.std())
    level = float(np.quantile(size, 1 - share))
    return Threshold(mean, deviation, (level - mean) / deviation)


def splice(weight: Array, mask: BoolArray, threshold: Threshold) -> BoolArray:
    """Return the next mask: small weights go, large ones come back, others stay as they are."""
    size = np.abs(weight)
    return np.where(
        size <= LOW * threshold.value, False, np.where(size > HIGH * threshold.value, True, mask)
    )


def surgery(
    model: onnx.ModelProto, kept: Mapping[str, float], mnist: Mnist, course: LabelCourse
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Return the network pruned at the first thresholds, and after training with splicing.

    Parameters
    ----------
    kept
        By weight: the share of its first magnitudes above the threshold. How many are kept at the
        end is the training's affair.
    """
    training = LabelTraining(model, mnist, course)
    descent = Descent(training, training.start, course)
    limits = {name: threshold_for(descent.values[name], share) for name, share in kept.items()}
    masks = {name: np.abs(descent.values[name]) > limits[name].value for name in kept}
    first = with_tensors(model, masked(descent.values, masks))
    rng = np.random.default_rng(course.seed)
    for step in range(course.steps):
        chance = (1 + GAMMA * step) ** -POWER
        if step < REST * course.steps and rng.random() < chance:
            masks = {n: splice(descent.values[n], masks[n], limits[n]) for n in kept}
        descent.step(masks, {})
    return first, with_tensors(model, masked(descent.values, masks))


def skinny(
    model: onnx.ModelProto, kept: Mapping[str, float], mnist: Mnist, course: LabelCourse
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Return the network with the largest weights alone, and after rounds of both phases.

    Every round trains the largest weights, and then all; a last one trains the largest alone.
    Each of these phases has as many steps.
    """
    training = LabelTraining(model, mnist, course)
    values, first = dict(training.start), None
    phases = 2 * ROUNDS + 1
    part = replace(course, steps=course.steps // phases)
    for phase in range(phases):
        masks: dict[str, BoolArray] = {}
        if phase % 2 == 0:
            masks = {name: largest(np.abs(values[name]), share) for name, share in kept.items()}
            values = masked(values, masks)
            first = first or with_tensors(model, values)
        descent = Descent(training, values, part)
        for _ in range(part.steps):
            descent.step(masks, masks)
        values = masked(descent.values, masks)
    assert first is not None
    return first, with_tensors(model, values)
