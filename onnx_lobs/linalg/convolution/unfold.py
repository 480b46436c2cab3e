"""Lays out the windows of every convolution as the rows of a matrix (im2col).

They are those of :mod:`onnx_lobs.linalg.convolution.geometry`: ``unfold(x) @ weight.T`` is the
layer's output.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from onnx_lobs.arrays import Array, BoolArray, IntArray
from onnx_lobs.linalg.convolution.geometry import Unfold, output_sizes, resolve
from onnx_lobs.linalg.convolution.positions import Grid, Spread

Indices = IntArray
Chosen = Indices | Spread | Grid | None


def unfold(x: Array, geometry: Unfold, groups: int, chosen: Chosen = None) -> Array:
    """Return the windows of `x` as matrices, one per group.

    Parameters
    ----------
    x
        Activation (samples, channels, *spatial). Not modified.
    geometry
        See :class:`Unfold`; resolved here for the size of `x`.
    groups
        Channel groups; `channels` is a multiple of it.
    chosen
        Flat indices of output positions in 0 .. samples * prod(output) - 1, ascending; or the same
        positions of all samples: a Grid, or a Spread where every window is a pixel; None: all.

    Returns
    -------
    ndarray
        (groups, positions, channels / groups * prod(kernel)); the order of positions is
        sample-major, the order of columns channel-major with the kernel position fastest. In memory
        the positions of one column are neighbours, as they are in `x`: that makes for long
        runs, and costs one copy of the result.
    """
    inside = x.shape[1] // groups * geometry.kernel_size
    if isinstance(chosen, Spread):
        flat = _spread_pixels(x, chosen)
    elif isinstance(chosen, np.ndarray):
        flat = _some_windows(x, geometry, chosen)
    else:
        flat = _grid_windows(x, geometry, chosen)
    result: Array = flat.reshape(groups, inside, flat.shape[-1]).swapaxes(1, 2)
    return result


def pixels_as_observations(y: Array, groups: int, chosen: Chosen = None) -> Array:
    """Return the `chosen` pixels of images (samples, channels, *spatial) as observations.

    They are (groups, pixels, channels / groups), in the order of :func:`unfold`, whose choices
    these are.
    """
    ones = (1,) * (y.ndim - 2)
    return unfold(y, Unfold(ones, ones, ones, (0,) * 2 * len(ones), ones), groups, chosen)


def _grid_windows(x: Array, geometry: Unfold, grid: Grid | None) -> Array:
    """Return (channels, kernel_size, positions): no padding and no inserted zeros are made."""
    nd = len(geometry.kernel)
    grid = Grid((0,) * nd, (1,) * nd) if grid is None else grid
    sizes, axes = axis_reads(x.shape[2:], geometry, grid)
    is_whole = all(
        to == slice(0, n, 1) for n, row in zip(sizes, axes, strict=True) for to, _ in row
    )
    # what no position reads stays zero: the padding, and a ConvTranspose's inserted zeros
    make = np.empty if is_whole else np.zeros
    result = make((x.shape[1], geometry.kernel_size, x.shape[0], *sizes), x.dtype)
    # one copy per kernel position, of a regular part of the image
    images = x.swapaxes(0, 1)
    every = slice(None)
    for position, reads in enumerate(itertools.product(*axes)):
        to, of = ((every, every, *slices) for slices in zip(*reads, strict=True))
        result[:, position][to] = images[of]
    return result.reshape(*result.shape[:2], -1)


def axis_reads(
    spatial: tuple[int, ...], geometry: Unfold, grid: Grid
) -> tuple[tuple[int, ...], list[list[tuple[slice, slice]]]]:
    """Return how many outputs a grid takes along each axis, and what they read there.

    The latter, per axis and kernel position: which of these outputs read a pixel, and the pixels.
    """
    geometry = resolve(geometry, spatial)
    sizes = grid.sizes(output_sizes(spatial, geometry))
    return sizes, [_reads(geometry, axis, grid, n, spatial[axis]) for axis, n in enumerate(sizes)]


def _reads(geometry: Unfold, axis: int, grid: Grid, n: int, size: int) -> list[tuple[slice, slice]]:
    """Return, per position of an axis, which of n outputs read a pixel there, and the pixels.

    Output o reads place ``first + o * stride`` of the pixels with zeros between them.
    """
    stride = geometry.strides[axis] * grid.step[axis]
    up, kernel = geometry.upsample[axis], geometry.kernel[axis]
    period = up // math.gcd(stride, up)  # of the outputs that meet no inserted zero
    found = []
    for k in range(kernel):
        position = kernel - 1 - k if geometry.flip else k
        # the first and the last output inside the image, and the first that meets a pixel
        first = geometry.strides[axis] * grid.start[axis] - geometry.pads[axis]
        first += position * geometry.dilations[axis]
        lo, hi = max(0, -(first // stride)), min(n, ((size - 1) * up - first) // stride + 1)
        lo = next((o for o in range(lo, lo + period) if (first + o * stride) % up == 0), hi)
        # from there on every so-manieth output, and pixel
        count = max(0, -(-(hi - lo) // period))
        at, step = (first + lo * stride) // up, stride * period // up
        pixels = slice(at, at + (count - 1) * step + 1, step) if count else slice(0)
        found.append(
            (slice(lo, lo + (count - 1) * period + 1, period) if count else slice(0), pixels)
        )
    return found


def _spread_pixels(x: Array, chosen: Spread) -> Array:
    """Return (channels, samples * chosen.count), the same pixels of every sample."""
    images = x.reshape(*x.shape[:2], -1).swapaxes(0, 1)
    result = np.empty((*images.shape[:2], chosen.count), x.dtype)
    for to, pixels in chosen.runs(images.shape[2]):
        result[:, :, to] = images[:, :, pixels]
    return result.reshape(len(images), -1)


def _some_windows(x: Array, geometry: Unfold, chosen: Indices) -> Array:
    """Return (channels, kernel_size, len(chosen)), sample by sample, by distances."""
    geometry = resolve(geometry, x.shape[2:])
    out = output_sizes(x.shape[2:], geometry)
    each = math.prod(out)
    corners = np.unravel_index(chosen % max(each, 1), out)
    places, is_outside = pixels_read(geometry, corners, x.shape[2:])
    # sample by sample: pixels are taken where none is, too, and made zero afterwards
    result = np.empty((x.shape[1], len(places), len(chosen)), x.dtype)
    edges = np.searchsorted(chosen, each * np.arange(len(x) + 1))
    for sample, (begin, end) in enumerate(itertools.pairwise(edges)):
        image = x[sample].reshape(x.shape[1], -1)
        result[:, :, begin:end] = image.take(places[:, begin:end], axis=1)
    for position, outside in enumerate(is_outside):
        result[:, position, np.flatnonzero(outside)] = 0
    return result


def pixels_read(
    geometry: Unfold, corners: Sequence[Indices], spatial: tuple[int, ...]
) -> tuple[Indices, BoolArray]:
    """Return the pixels that each position reads at some outputs, and where there is none.

    Both are (kernel_size, n). None is read outside the image, and where a ConvTranspose has zeros
    between its pixels.
    """
    places = np.zeros((geometry.kernel_size, corners[0].size), np.int64)
    is_outside = np.zeros(places.shape, bool)
    corner = np.unravel_index(np.arange(geometry.kernel_size), geometry.kernel)
    for axis, (size, up) in enumerate(zip(spatial, geometry.upsample, strict=True)):
        position = geometry.kernel[axis] - 1 - corner[axis] if geometry.flip else corner[axis]
        first = corners[axis] * geometry.strides[axis] - geometry.pads[axis]
        at = first + (position * geometry.dilations[axis])[:, None]
        is_outside |= (at < 0) | (at > (size - 1) * up) | (at % up != 0)
        places = places * size + np.clip(at // up, 0, size - 1)
    return places, is_outside
