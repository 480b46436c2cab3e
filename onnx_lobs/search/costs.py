"""Observes what data give each layer, and what a weight of it costs in the unit of the budget."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from onnx_lobs.allocation.rules import Slot
from onnx_lobs.arrays import FloatArray
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layers.work import share_of_observations
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.observations import observations_of
from onnx_lobs.run.setup import Setup
from onnx_lobs.storage.formats import find_format
from onnx_lobs.storage.values import VALUES


@dataclass(frozen=True)
class LayerCosts:
    """What was observed of the layers, in their order, on one batch.

    ``observations`` (layers,) per sample; `slots` with what one of their weights costs.
    """

    observations: FloatArray
    slots: tuple[Slot, ...]


def observe_costs(
    setup: Setup, networks: Networks, observations: FloatArray | None = None
) -> LayerCosts:
    """Return the costs of the layers. Cost: the dense network on one batch.

    `observations` are those of :func:`onnx_lobs.run.observations.observations_of`, where they are
    known already.
    """
    if observations is None:
        observations = observations_of(setup, networks)
    each = zip(setup.layers, setup.slots, observations, strict=True)
    return LayerCosts(
        observations, tuple(with_price(setup.config, layer, slot, n) for layer, slot, n in each)
    )


def with_price(config: PruneConfig, layer: Layer, slot: Slot, observations: float) -> Slot:
    """Return the slot with what one of its weights costs."""
    price = 1.0
    if config.budget == "bytes":
        itemsize = VALUES[config.values].itemsize(layer.dtype.itemsize)
        price = find_format(config.storage).price(itemsize)
    elif config.budget == "macs":
        price = max(observations * share_of_observations(layer), 1e-9)
    return dataclasses.replace(slot, price=price)
