"""How many samples go through the network at once, so that what they show fits memory."""

from __future__ import annotations

from collections.abc import Sequence

from onnx_lobs.calibration.independent import tap_values
from onnx_lobs.calibration.shared_inputs import find_shared_inputs
from onnx_lobs.data.batches import Batches
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.layer import Layer
from onnx_lobs.options.config import BATCH_SIZE

SHOWN_PART = 8  # of the memory, for the layers' inputs of one batch
MOST_SHOWN = 1 << 28  # bytes of them: more leave the caches before they are read, and gain nothing


def fit_batches(
    batches: Batches,
    model: Model,
    layers: Sequence[Layer],
    provider: str,
    memory: int | None,
    *,
    in_caches: bool,
) -> tuple[Batches, int]:
    """Return batches of BATCH_SIZE samples, or of fewer if they show too much, and the size.

    The inputs of all layers together, of one batch, are to fit MOST_SHOWN bytes if they are to be
    read from the processor's caches, and 1 / SHOWN_PART of `memory` bytes if that is given. Batches
    that cannot be cut otherwise stay as they are.

    Notes
    -----
    Cost: the network on one sample.
    """
    rooms = [MOST_SHOWN] * in_caches
    rooms += [] if memory is None else [memory // SHOWN_PART]
    if not rooms or batches.recut is None:
        return batches, BATCH_SIZE
    groups = find_shared_inputs(layers)
    found = tap_values(model, groups, next(iter(batches.recut(1))), provider)
    shown = {use.tap: found(use).nbytes for group in groups for use in group.uses}
    most = min(rooms) // max(sum(shown.values()), 1)
    size = min(max(most, 1), BATCH_SIZE)
    return (batches if size == BATCH_SIZE else batches.recut(size)), size
