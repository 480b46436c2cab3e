"""Counts the multiplications that a layer's weights do for one sample."""

from __future__ import annotations

import math
from collections.abc import Mapping

from onnx_lobs.graph.inferred_shapes import KnownShape
from onnx_lobs.layers.layer import Layer, Use


def multiplications(layer: Layer, shapes: Mapping[str, KnownShape], samples: int) -> int | None:
    """Return the multiplications of a layer for one sample, or None if sizes are not known.

    Parameters
    ----------
    layer
        All its weights count, whatever their values.
    shapes, samples
        Of the main graph's values, and how many samples they are for, as
        :func:`onnx_lobs.graph.inferred_shapes.infer_shapes` returns them.
    """
    total = 0
    for use in layer.uses:
        sizes = shapes.get(use.input) if use.scope == 0 and use.home is None else None
        known = tuple(size for size in sizes or () if size is not None)
        if sizes is None or len(known) != len(sizes) or not _fits(use, known):
            return None
        total += layer.size * _places(use, known)
    return total // samples


def share_of_observations(layer: Layer) -> float:
    """Return multiplications by a weight over observations: below one in a ConvTranspose.

    Its observations are of the input with zeros between neighbours, by which nothing multiplies.
    """
    strides = {use.unfold.upsample for use in layer.uses if use.unfold is not None}
    return 1 / math.prod(max(strides, default=()))


def _places(use: Use, shape: tuple[int, ...]) -> int:
    """Return the multiplications by one weight, as if no window reached the border."""
    if use.op != "ConvTranspose":
        return use.n_observations(shape)
    return shape[0] * math.prod(shape[2:])  # each input meets each weight once


def _fits(use: Use, shape: tuple[int, ...]) -> bool:
    """Whether a use can have an activation of a shape; broken models say what cannot be."""
    if use.unfold is not None:
        return len(shape) == len(use.unfold.kernel) + 2
    pairs = zip(reversed(shape[:-2]), reversed(use.batch), strict=False)
    return len(shape) > 0 and all(one == other or 1 in (one, other) for one, other in pairs)
