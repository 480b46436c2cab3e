"""Finds which inputs and outputs of a layer are the same for any data."""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import FloatArray
from onnx_lobs.layers.channels.steady.value import SteadyValue
from onnx_lobs.layers.layer import Layer, Use
from onnx_lobs.linalg.convolution.geometry import Unfold
from onnx_lobs.linalg.convolution.unfold import unfold


def column_values(
    layer: Layer, use: Use, x: SteadyValue | None, shape: tuple[int, ...]
) -> FloatArray:
    """Return what each column (groups, columns) of a layer multiplies; NaN: that depends on data.

    With zeros around a picture, or a kernel that runs backwards, what is not zero is not the same
    everywhere. `shape` is the whole input's.
    """
    layout = layer.layout
    unknown = np.full((layout.groups, layout.columns), np.nan)
    if x is None:
        return unknown
    if use.unfold is not None:
        if not x.is_alike(range(2, len(shape))):
            return unknown
        alike = (1, shape[1], *(1,) * (len(shape) - 2))
        return _of_windows(use.unfold, use.groups, x.spread(alike).known_or_nan())
    found = use.observations(x.spread(shape).known_or_nan())
    first = found[:, 0]
    return np.where((found == first[:, None]).all(axis=1), first, np.nan)


def _of_windows(geometry: Unfold, groups: int, values: FloatArray) -> FloatArray:
    """Return the columns of one window that lies within the picture."""
    n = len(geometry.kernel)
    has_border = geometry.auto_pad not in ("NOTSET", "VALID") or any(p > 0 for p in geometry.pads)
    if has_border or geometry.flip:
        values = np.where(values == 0, values, np.nan)
    inside = Unfold(geometry.kernel, (1,) * n, geometry.dilations, (0,) * (2 * n), (1,) * n)
    window = np.broadcast_to(values, (1, *values.shape[1:2], *inside.extent))
    return np.asarray(unfold(np.ascontiguousarray(window), inside, groups)[:, 0], np.float64)


def row_values(weight: FloatArray, columns: FloatArray) -> FloatArray:
    """Return what each row (groups, rows) gives, without a bias; NaN: that depends on data.

    Parameters
    ----------
    weight
        (groups, rows, columns).
    columns
        (groups, columns) from :func:`column_values`.
    """
    is_open = np.isnan(columns)
    depends = (weight != 0) & is_open[:, None]
    given = np.einsum("grc,gc->gr", weight, np.where(is_open, 0.0, columns))
    return np.where(depends.any(axis=2), np.nan, given)


def output_values(use: Use, rows: FloatArray, rank: int, *, is_right: bool) -> FloatArray | None:
    """Return :func:`row_values` as they stand in a product's output of `rank` axes.

    None where they are not one axis of it. `is_right`: the weight stands right of its input.
    """
    if use.op == "Einsum" or (use.unfold is None and rows.shape[0] > 1):
        return None
    axis = 1 if use.unfold is not None else rank - (1 if is_right else 2)
    if axis < 0 or np.isnan(rows).all():
        return None
    return rows.reshape([-1 if each == axis else 1 for each in range(rank)])
