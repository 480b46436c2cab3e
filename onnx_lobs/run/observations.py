"""Observes, on one batch, how many observations a sample gives each layer."""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import FloatArray
from onnx_lobs.calibration.independent import observations_per_sample
from onnx_lobs.calibration.shared_inputs import find_shared_inputs
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.slots import layer_key


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
