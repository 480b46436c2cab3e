"""Fits how many samples go through the network at once, so that their taps fit memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from onnx_lobs.calibration.independent import tap_values
from onnx_lobs.calibration.shared_inputs import find_shared_inputs
from onnx_lobs.data.batches import Batches
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.layer import Layer
from onnx_lobs.options.data import BATCH_SIZE

TAPS_PART = 8  # of the memory, for the layers' inputs of one batch
LEAST_BATCHES = 10  # so that some can be held out
MOST_TAPPED = 1 << 28  # bytes of them: more leave the caches before they are read, and gain nothing


def fit_batches(
    batches: Batches,
    model: Model,
    layers: Sequence[Layer],
    provider: str,
    memory: int | None,
    *,
    in_caches: bool,
) -> tuple[Batches, int]:
    """Return batches of BATCH_SIZE samples, or of fewer if their taps take too much, and the size.

    The inputs of all layers together, of one batch, are to fit MOST_TAPPED bytes if they are to be
    read from the processor's caches, and 1 / TAPS_PART of `memory` bytes if that is given. Few
    samples make LEAST_BATCHES batches. Batches that cannot be cut otherwise stay as they are.

    Notes
    -----
    Cost: the network on one sample.
    """
    if batches.recut is None:
        return batches, BATCH_SIZE
    few = max(batches.n_samples // LEAST_BATCHES, 1)
    rooms = [MOST_TAPPED] * in_caches
    rooms += [] if memory is None else [memory // TAPS_PART]
    if not rooms:
        size = min(few, BATCH_SIZE)
        return _recut(batches, size), size
    shared_inputs = find_shared_inputs(layers)
    input_of = tap_values(model, shared_inputs, next(iter(batches.recut(1))), provider)
    sizes = {use.tap: input_of(use).nbytes for shared in shared_inputs for use in shared.uses}
    most = min(rooms) // max(sum(sizes.values()), 1)
    size = min(max(most, 1), few, BATCH_SIZE)
    return _recut(batches, size), size


def _recut(batches: Batches, size: int) -> Batches:
    """Return the samples in batches of `size`, which can be cut again."""
    if batches.recut is None or size == BATCH_SIZE:
        return batches
    return dataclasses.replace(batches.recut(size), recut=batches.recut)
