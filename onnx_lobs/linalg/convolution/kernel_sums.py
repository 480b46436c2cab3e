"""Sums products of a convolution's inputs and values at its outputs, window places apart.

This is ``outputs.T @ unfold(x)`` where no windows need to be laid out for it: of single pixels, and
of one channel a group, where each place of the kernel sums up one product of two images.
"""

from __future__ import annotations

import itertools

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.linalg.convolution.geometry import Unfold
from onnx_lobs.linalg.convolution.positions import Grid
from onnx_lobs.linalg.convolution.unfold import axis_reads

AXES = "xyz"


def sum_pixels(x: Array, y: Array, groups: int) -> Array:
    """Return the sums of a convolution whose windows are the pixels of its input.

    Parameters
    ----------
    x, y
        (samples, channels, *spatial) and (samples, rows, *spatial): inputs, and values at the
        outputs. Not modified.
    groups
        Of which channels and rows are multiples.

    Returns
    -------
    ndarray
        (groups, rows / groups, channels / groups).
    """
    left, right = (a.reshape(len(a), groups, a.shape[1] // groups, -1) for a in (y, x))
    summed: Array = (left @ right.swapaxes(-1, -2)).sum(0)
    return summed


def sum_places(x: Array, y: Array, geometry: Unfold) -> Array:
    """Return the sums of a convolution of one channel and one row a group.

    Parameters
    ----------
    x, y
        (samples, channels, *spatial) and (samples, channels, *outputs). Not modified.
    geometry
        Of its windows.

    Returns
    -------
    ndarray
        (channels, 1, prod(kernel)).

    Notes
    -----
    Nothing is copied: the places of a kernel read regular parts of both images.
    """
    nd = x.ndim - 2
    _, axes = axis_reads(x.shape[2:], geometry, Grid((0,) * nd, (1,) * nd))
    image = "nc" + AXES[:nd]
    wide = np.result_type(x, y, np.float32)  # half precision would round every sum
    found = np.empty((x.shape[1], 1, geometry.kernel_size), wide)
    every = (slice(None),) * 2
    for place, reads in enumerate(itertools.product(*axes)):
        to, of = zip(*reads, strict=True)
        found[:, 0, place] = np.einsum(
            f"{image},{image}->c", y[every + to], x[every + of], dtype=wide
        )
    return found
