"""Finds the axis of a stored weight along which its outputs lie: one scale for each goes there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import IntArray
from onnx_lobs.layers.layer import Layer

AXIS_OPSET = 13  # the first in which DequantizeLinear takes an axis


@dataclass(frozen=True)
class OutputAxis:
    """Says which rows of a layer share a scale.

    Parameters
    ----------
    axis
        Of the stored tensor; None: the whole tensor has one scale.
    of_row
        (groups, rows): the place along that axis where the row's weights lie; 0 without one.
    count
        Places along the axis, 1 without one.
    """

    axis: int | None
    of_row: IntArray
    count: int


def output_axis(layer: Layer, shape: tuple[int, ...], opset: int) -> OutputAxis:
    """Return the longest axis of a stored tensor on which each row of the layer has one place.

    Parameters
    ----------
    layer
        Its chain and layout lead from the stored tensor to its rows.
    shape
        Of the stored tensor.
    opset
        Version of the operator set: before AXIS_OPSET, a tensor has one scale.

    Returns
    -------
    OutputAxis
        For a convolution that of the output channels, groups included; of a matrix that of the
        outputs, behind a Transpose too. Rows of several groups share a place where a tensor has an
        axis for each, as a batch of matrices has. No axis where none is longer than 1.

    Notes
    -----
    Cost: a few passes over an array of the weight's size.
    """
    groups, rows = layer.layout.groups, layer.layout.rows
    best = one_scale(groups, rows)
    if opset < AXIS_OPSET:
        return best
    for axis, count in enumerate(shape):
        if count <= best.count:
            continue
        along = [-1 if other == axis else 1 for other in range(len(shape))]
        places = np.arange(count, dtype=np.int32).reshape(along)
        seen = layer.chain.move(np.ascontiguousarray(np.broadcast_to(places, shape)))
        matrix = layer.layout.to_matrix(seen)
        if matrix.shape[2] and (matrix == matrix[:, :, :1]).all():
            best = OutputAxis(axis, matrix[:, :, 0].astype(np.int64), count)
    return best


def one_scale(groups: int, rows: int) -> OutputAxis:
    """Return that all rows of a layer share one scale."""
    return OutputAxis(None, np.zeros((groups, rows), np.int64), 1)
