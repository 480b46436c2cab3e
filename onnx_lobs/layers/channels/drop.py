"""Drops empty channels from a model, round after round, until none is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from onnx_lobs.arrays import Feeds, IntArray
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.channels.coupling import Coupling, find_coupling
from onnx_lobs.layers.channels.empty import EmptyChannels, find_empty, fold_constants
from onnx_lobs.layers.channels.observed import observe
from onnx_lobs.layers.channels.removal import found_again, remove_channels
from onnx_lobs.layers.find import LayerFilter, find_layers

ALL = LayerFilter(depthwise=True, prunes_tied=True, transforms=True)


@dataclass(frozen=True, eq=False)
class DroppedChannels:
    """A model before and after its empty channels were dropped, and their number by weight."""

    before: Coupling
    after: Coupling
    counts: Mapping[str, int]


def drop_empty(model: Model, feeds: Feeds) -> DroppedChannels:
    """Return a model without the channels that can go without loss. Nothing is modified.

    Parameters
    ----------
    model
        As onnxruntime can run it.
    feeds
        A few samples.

    Raises
    ------
    ModelError, InferenceError
        When onnxruntime cannot load or run the model.
    SolverError
        When a bias that takes what went does not fit its type.

    Notes
    -----
    What nobody reads any more once others are gone goes too, in the next round. Cost of a round:
    two runs of the model, and passes over its weights.
    """
    counts = Counter[str]()
    first = last = find_coupling(observe(model, feeds))
    while True:
        layers, _ = find_layers(last.observed.model, ALL)
        empty = find_empty(last, layers)
        if empty.gone.size == 0:
            return DroppedChannels(first, last, counts)
        counts.update(_by_weight(last, empty.gone))
        smaller = Model(_without(last, empty, feeds), model.folder)
        last = find_coupling(observe(smaller, feeds))


def _without(coupling: Coupling, empty: EmptyChannels, feeds: Feeds) -> onnx.ModelProto:
    """Return the model without channels whose constants its biases take."""
    model, gone = coupling.observed.model, empty.gone.tolist()
    changed = model.copied()
    fold_constants(changed, empty)
    folded = observe(Model(changed.proto, model.folder), feeds)
    now = find_coupling(folded, known=coupling.carriers)
    return remove_channels(now, found_again(coupling, now, gone))


def _by_weight(coupling: Coupling, gone: IntArray) -> dict[str, int]:
    """Return the channels of every group by the first of its weights."""
    counts = Counter[str]()
    for group in coupling.groups:
        counts[coupling.name_of(group)] += int(np.isin(group.channels, gone).sum())
    return {name: count for name, count in counts.items() if count}
