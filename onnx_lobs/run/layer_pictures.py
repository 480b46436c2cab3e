"""Draws what became of the weights of each layer: their values, and where they stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.layer import Layer
from onnx_lobs.report.record import Histogram, KeptMap, LayerPicture
from onnx_lobs.run.networks import Networks

MOST_LAYERS = 100  # with pictures
MOST_COUNTED = 1 << 20  # weights of a layer whose values are counted
WITHIN = 0.999  # of the weights are within a histogram; the others are in its first and last bin
N_BINS = 41  # an odd number: the middle one holds the smallest weights
MAP_SIZE = (48, 64)  # rows and columns of a map, at most


def draw_layers(layers: Sequence[Layer], networks: Networks) -> tuple[LayerPicture, ...]:
    """Return pictures of the layers, of the largest `MOST_LAYERS` where they are more.

    Parameters
    ----------
    layers
        In the order of the model.
    networks
        Pruned. Not modified.

    Notes
    -----
    Cost: the weights of each layer are read twice, one layer at a time.
    """
    largest = sorted(layers, key=lambda layer: -layer.size)[:MOST_LAYERS]
    chosen = {id(layer) for layer in largest}
    return tuple(_draw(layer, networks) for layer in layers if id(layer) in chosen)


def _draw(layer: Layer, networks: Networks) -> LayerPicture:
    before, after = (_matrix(layer, model) for model in (networks.dense, networks.pruned))
    groups, rows, columns = after.shape
    return LayerPicture(
        name=layer.name,
        shape=(groups, rows, columns),
        histogram=draw_histogram(before.reshape(-1), after.reshape(-1)),
        kept=_kept_map(after.reshape(groups * rows, columns) != 0),
    )


def _matrix(layer: Layer, model: Model) -> Array:
    tensor = model.constant(model.scopes[layer.scope], layer.weight)
    assert tensor is not None
    return layer.matrix(model.value(tensor))


def draw_histogram(before: Array, after: Array) -> Histogram:
    """Count weights (one axis) by value, before and after; zeros are left out."""
    step = -(-before.size // MOST_COUNTED)
    parts = [values[::step].astype(np.float64) for values in (before, after)]
    parts = [values[np.isfinite(values) & (values != 0)] for values in parts]
    reach = max(float(np.quantile(np.abs(v), WITHIN)) if v.size else 0.0 for v in parts) or 1.0
    # in units of the reach, which may be as small as floats can be
    clipped = (np.clip(values / reach, -1, 1) for values in parts)
    counts = [np.histogram(values, N_BINS, (-1, 1))[0] for values in clipped]
    return Histogram(-reach, reach, tuple(map(int, counts[0])), tuple(map(int, counts[1])))


def _kept_map(kept: Array) -> KeptMap:
    """Return the share of kept weights in each cell of a grid over a matrix."""
    starts, sizes = [], []
    for n, most in zip(kept.shape, MAP_SIZE, strict=True):
        edges = np.linspace(0, n, min(n, most) + 1).astype(int)
        starts.append(edges[:-1])
        sizes.append(np.diff(edges))
    sums = np.add.reduceat(kept, starts[0], axis=0, dtype=np.int64)
    sums = np.add.reduceat(sums, starts[1], axis=1)
    shares = np.ceil(255 * sums / np.outer(*sizes)).astype(np.uint8)
    return KeptMap(len(starts[0]), len(starts[1]), shares.tobytes())
