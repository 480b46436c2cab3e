"""How many samples go through the network at once, so that what they show fits memory."""

from __future__ import annotations

from collections.abc import Sequence

from onnx_lobs.calibration.groups import make_groups
from onnx_lobs.calibration.in_graph import show
from onnx_lobs.calibration.independent import lookup, tap_types
from onnx_lobs.config import BATCH_SIZE
from onnx_lobs.data.batches import Batches
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.layer import Layer

SHOWN_PART = 8  # of the memory, for the layers' inputs of one batch


def fitting_batch(
    model: Model, layers: Sequence[Layer], batches: Batches, provider: str, memory: int | None
) -> int:
    """Return the samples of a batch: BATCH_SIZE, or fewer if `memory` bytes ask for it.

    The inputs of all layers together, of one batch, are to fit 1 / SHOWN_PART of it. Batches that
    cannot be cut otherwise are not looked at.

    Notes
    -----
    Cost: the network on one sample.
    """
    if memory is None or batches.recut is None:
        return BATCH_SIZE
    groups = make_groups(layers)
    wanted = [(use, group.layers[0].layout.columns) for group in groups for use in group.uses]
    feeds = next(iter(batches.recut(1)))
    values = lookup(show(model, wanted, tap_types(model, groups), provider).run(feeds))
    shown = {(use.scope, use.input): values(use).nbytes for use, _ in wanted}
    most = memory // (SHOWN_PART * max(sum(shown.values()), 1))
    return int(min(max(most, 1), BATCH_SIZE))
