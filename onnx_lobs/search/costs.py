"""Observes what data give each layer, and what a weight of it costs in the unit of the budget."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from onnx_lobs.allocation.rules import Slot
from onnx_lobs.arrays import FloatArray
from onnx_lobs.calibration.independent import observations_per_sample
from onnx_lobs.calibration.shared_inputs import find_shared_inputs
from onnx_lobs.layers.layer import Layer
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.slots import layer_key
from onnx_lobs.storage.formats import FORMATS
from onnx_lobs.storage.values import VALUES


@dataclass(frozen=True)
class LayerCosts:
    """What was observed of the layers, in their order, on one batch.

    ``observations`` (layers,) per sample; `slots` with what one of their weights costs.
    """

    observations: FloatArray
    slots: tuple[Slot, ...]


def observe_costs(setup: Setup, networks: Networks) -> LayerCosts:
    """Return the costs of the layers. Cost: the dense network on one batch."""
    observations = observations_of(setup, networks)
    each = zip(setup.layers, setup.slots, observations, strict=True)
    return LayerCosts(
        observations, tuple(with_price(setup.config, layer, slot, n) for layer, slot, n in each)
    )


def observations_of(setup: Setup, networks: Networks) -> FloatArray:
    """Return the observations that a sample gives each layer."""
    feeds = next(iter(setup.batches))
    shared_inputs = find_shared_inputs(setup.layers)
    found = observations_per_sample(
        networks.dense, shared_inputs, feeds, setup.batches.sizes[0], networks.provider
    )
    known = {
        layer_key(layer): value
        for shared, value in zip(shared_inputs, found, strict=True)
        for layer in shared.layers
    }
    return np.array([known[layer_key(layer)] for layer in setup.layers])


def with_price(config: PruneConfig, layer: Layer, slot: Slot, observations: float) -> Slot:
    """Return the slot with what one of its weights costs."""
    price = 1.0
    if config.budget == "bytes":
        itemsize = VALUES[config.values].itemsize(layer.dtype.itemsize)
        price = FORMATS[config.storage].price(itemsize)
    elif config.budget == "macs":
        price = max(observations, 1e-9)
    return dataclasses.replace(slot, price=price)
