"""Holds what a row of the tables is, and the steps that rows share: prune, retrain, measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx

import onnx_lobs
from paper.networks import (
    INPUT,
    LENET_5,
    LENET_300,
    Mnist,
    dense_network,
    kept_share,
    masks_of,
    test_error,
    weight_names,
)
from paper.training import LabelCourse, train_survivors

CALIBRATION = 20_000  # training images

Shares = tuple[float, ...]

# shares kept, layer by layer. STAGE_1 and STAGE_2 are the paper's tables 3 and 4; EVEN are 7 % of
# all weights; HAN and GUO what these authors report
STAGE_1: dict[str, Shares] = {LENET_300: (0.07, 0.2, 0.7), LENET_5: (0.6, 0.6, 0.06, 0.3)}
STAGE_2: dict[str, Shares] = {LENET_300: (0.01, 0.04, 0.54), LENET_5: (0.2, 0.01, 0.009, 0.08)}
SEVEN: dict[str, Shares] = {LENET_300: (0.056, 0.16, 0.6), LENET_5: (0.5, 0.2, 0.059, 0.25)}
HAN: dict[str, Shares] = {LENET_300: (0.08, 0.09, 0.26), LENET_5: (0.66, 0.12, 0.08, 0.19)}
GUO: dict[str, Shares] = {LENET_300: (0.018, 0.018, 0.055), LENET_5: (0.142, 0.031, 0.007, 0.043)}

SHORT = {LENET_300: (200, 510), LENET_5: (740,)}  # steps of the light retraining
LONG = {LENET_300: 20_000, LENET_5: 6_000}  # steps of a training as other systems need it
LIGHT_BATCH = {LENET_300: 512, LENET_5: 64}
LONG_BATCH = 64
LONG_RATE = 0.03
DECAY = 0.01  # part of a weight taken off by a step of rate 1
SEEDS = (0, 1, 2)  # of a row that is a mean


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Parameters
    ----------
    table
        What it belongs to.
    network, origin
        Which network, and whose weights.
    method
        What was done.
    kept
        Share of weights that are not zero, in per cent; biases do not count.
    dense, pruned
        Test errors in per cent: of the dense network, and after pruning.
    retrained
        Test error in per cent by the number of steps.
    facts
        What else was measured.
    """

    table: str
    network: str
    origin: str
    method: str
    kept: float | None = None
    dense: float | None = None
    pruned: float | None = None
    retrained: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def by_weight(model: onnx.ModelProto, shares: Shares) -> dict[str, float]:
    """Return shares by the weight's name."""
    return dict(zip(weight_names(model), shares, strict=True))


def pruned_by(
    model: onnx.ModelProto, mnist: Mnist, method: str, shares: Shares, **options: Any
) -> onnx.ModelProto:
    """Return the network pruned by a method of the package, shares fixed for each layer."""
    names = [name.removesuffix(".weight") for name in weight_names(model)]
    zeros = {name: 1 - share for name, share in zip(names, shares, strict=True)}
    data = {INPUT: mnist.images[:CALIBRATION]}
    return onnx_lobs.prune(model, data, method=method, layer_sparsity=zeros, **options).model


def light(
    model: onnx.ModelProto, mnist: Mnist, steps: int, batch: int, rate: float = 0.03
) -> onnx.ModelProto:
    """Return the network after light retraining on the labels of all training images."""
    data = {INPUT: mnist.images, "label": mnist.labels}
    return onnx_lobs.retrain(
        model, data, steps=steps, towards="labels", batch_size=batch, rate=rate
    ).model


def lightly_retrained(model: onnx.ModelProto, network: str, mnist: Mnist) -> dict[str, float]:
    """Return the errors after light retraining, by the number of steps."""
    return {
        str(steps): test_error(light(model, mnist, steps, LIGHT_BATCH[network]), mnist)
        for steps in SHORT[network]
    }


def long_retrained(model: onnx.ModelProto, network: str, mnist: Mnist) -> dict[str, float]:
    """Return the error after as many steps as systems take that do not solve for their weights."""
    course = LabelCourse(LONG[network], LONG_RATE, LONG_BATCH, DECAY)
    trained = train_survivors(model, masks_of(model), mnist, course)
    return {str(LONG[network]): test_error(trained, mnist)}


Pruner = Callable[[onnx.ModelProto, Mnist], onnx.ModelProto]
Maker = Callable[[Mnist], Row]


def pruned_row(
    table: str, network: str, origin: str, method: str, prune: Pruner, mnist: Mnist, long: bool
) -> Row:
    """Return a row: prune, measure, retrain, measure."""
    dense = dense_network(network, origin, mnist.folder)
    pruned = prune(dense, mnist)
    return Row(
        table,
        network,
        origin,
        method,
        100 * kept_share(pruned),
        test_error(dense, mnist),
        test_error(pruned, mnist),
        (long_retrained if long else lightly_retrained)(pruned, network, mnist),
    )
