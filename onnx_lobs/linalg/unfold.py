"""im2col for every convolution: sliding windows of an activation as the rows of a matrix.

One record, :class:`Unfold`, describes Conv and ConvTranspose in 1 to 3 dimensions with any
groups, strides, dilations and pads, so that ``unfold(x) @ weight.T`` is the layer's output.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Unfold:
    """Geometry of a convolution as windows over a zero-padded, zero-inserted input.

    Parameters
    ----------
    kernel, strides, dilations
        One entry per spatial axis.
    pads
        Begin of every axis, then end of every axis; negative values crop.
    upsample
        Zeros inserted between neighbours are ``upsample - 1``; all ones for Conv.
    flip
        True for ConvTranspose, whose kernel runs backwards.
    auto_pad
        ``NOTSET``, ``SAME_UPPER`` or ``SAME_LOWER``; the last two replace `pads` once the
        input's size is known (:func:`resolve`). ``VALID`` is NOTSET with zero pads.
    output_padding, output_shape
        ConvTranspose only; needed to resolve ``auto_pad`` and ``output_shape``.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    upsample: tuple[int, ...]
    flip: bool = False
    auto_pad: str = "NOTSET"
    output_padding: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()

    @property
    def taps(self) -> int:
        """Number of kernel positions."""
        return math.prod(self.kernel)

    @property
    def extent(self) -> tuple[int, ...]:
        """Size of the dilated kernel along every axis."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))


def resolve(geometry: Unfold, spatial: tuple[int, ...]) -> Unfold:
    """Return `geometry` with explicit pads for an input of size `spatial`.

    For Conv, ``SAME`` makes the output ``ceil(input / stride)``. For ConvTranspose, the total
    padding follows from ``output_shape``, which under ``SAME`` is ``input * stride``
    (ONNX operator specification). It is never negative: where a kernel is smaller than its
    stride, ``SAME`` gives a smaller output, and ``output_shape`` zeros at the end, as
    onnxruntime has it.
    """
    if geometry.flip:
        return _resolve_transposed(geometry, spatial)
    if geometry.auto_pad == "NOTSET":
        return geometry
    totals = [
        max((math.ceil(size / stride) - 1) * stride + extent - size, 0)
        for size, stride, extent in zip(spatial, geometry.strides, geometry.extent, strict=True)
    ]
    begin = [_smaller_half(t, geometry.auto_pad == "SAME_UPPER") for t in totals]
    end = [t - b for t, b in zip(totals, begin, strict=True)]
    return replace(geometry, pads=(*begin, *end), auto_pad="NOTSET")


def _resolve_transposed(geometry: Unfold, spatial: tuple[int, ...]) -> Unfold:
    if geometry.auto_pad == "NOTSET" and not geometry.output_shape:
        return geometry
    wanted = geometry.output_shape or tuple(
        s * m for s, m in zip(spatial, geometry.upsample, strict=True)
    )
    full = [
        (size - 1) * up + out_pad + extent
        for size, up, out_pad, extent in zip(
            spatial, geometry.upsample, geometry.output_padding, geometry.extent, strict=True
        )
    ]
    totals = [f - w for f, w in zip(full, wanted, strict=True)]
    if not geometry.output_shape:
        totals = [max(t, 0) for t in totals]
    upper = geometry.auto_pad == "SAME_UPPER"
    begin = [_smaller_half(max(t, 0), upper) for t in totals]
    end = [t - b for t, b in zip(totals, begin, strict=True)]
    return replace(
        geometry,
        pads=transposed_pads(geometry.extent, begin, end, geometry.output_padding),
        auto_pad="NOTSET",
        output_shape=(),
    )


def _smaller_half(total: int, smaller: bool) -> int:
    """Return the begin pad: the smaller half of `total` if `smaller`, else the larger."""
    return total // 2 if smaller else total - total // 2


def transposed_pads(
    extent: tuple[int, ...],
    begin: list[int] | tuple[int, ...],
    end: list[int] | tuple[int, ...],
    output_padding: tuple[int, ...],
) -> tuple[int, ...]:
    """Return the window pads of a ConvTranspose whose ONNX pads are `begin` and `end`."""
    lo = [e - 1 - b for e, b in zip(extent, begin, strict=True)]
    hi = [e - 1 - b + o for e, b, o in zip(extent, end, output_padding, strict=True)]
    return (*lo, *hi)


def unfold(x: Array, geometry: Unfold, groups: int, chosen: Indices | None = None) -> Array:
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
        Flat indices of output positions in 0 .. samples * prod(output) - 1, ascending, or None
        for all.

    Returns
    -------
    ndarray
        (groups, positions, channels / groups * prod(kernel)); the order of positions is
        sample-major, the order of columns channel-major with the kernel tap fastest. In memory
        the positions of one column are neighbours, as they are in `x`: that makes for long
        runs, and costs one copy of the result.
    """
    inside = x.shape[1] // groups * geometry.taps
    flat = _all_windows(x, geometry) if chosen is None else _some_windows(x, geometry, chosen)
    result: Array = flat.reshape(groups, inside, flat.shape[-1]).swapaxes(1, 2)
    return result


def _all_windows(x: Array, geometry: Unfold) -> Array:
    """Return (channels, *kernel, positions)."""
    windows = sliding_windows(x, geometry)
    nd = len(geometry.kernel)
    out, kernel = range(2, 2 + nd), range(2 + nd, 2 + 2 * nd)
    every = np.ascontiguousarray(windows.transpose(1, *kernel, 0, *out))
    return every.reshape(*every.shape[: 1 + nd], -1)


def _some_windows(x: Array, geometry: Unfold, chosen: Indices) -> Array:
    """Return (channels, taps, len(chosen)), sample by sample, each tap from its distance."""
    geometry = resolve(geometry, x.shape[2:])
    out = _output_shape(x.shape[2:], geometry)
    x = _pad(_insert_zeros(x, geometry.upsample), geometry.pads)
    spatial = x.shape[2:]
    each = math.prod(out)
    places = np.unravel_index(chosen % max(each, 1), out)
    corners = [place * step for place, step in zip(places, geometry.strides, strict=True)]
    first = np.ravel_multi_index(corners, spatial)
    reach = [d * np.arange(k) for d, k in zip(geometry.dilations, geometry.kernel, strict=True)]
    taps = np.ravel_multi_index(np.meshgrid(*reach, indexing="ij"), spatial).ravel()
    taps = taps[::-1] if geometry.flip else taps
    result = np.empty((x.shape[1], len(taps), len(chosen)), x.dtype)
    edges = np.searchsorted(chosen, each * np.arange(len(x) + 1))
    for sample, (begin, end) in enumerate(itertools.pairwise(edges)):
        image = x[sample].reshape(x.shape[1], -1)
        result[:, :, begin:end] = image.take(taps[:, None] + first[begin:end], axis=1)
    return result


def n_positions(shape: tuple[int, ...], geometry: Unfold) -> int:
    """Return samples * output positions for an input of `shape` (samples, channels, ...)."""
    spatial = shape[2:]
    return shape[0] * math.prod(_output_shape(spatial, resolve(geometry, spatial)))


def _output_shape(spatial: tuple[int, ...], geometry: Unfold) -> tuple[int, ...]:
    """Return the sizes of the output of a resolved geometry."""
    nd = len(spatial)
    sizes = []
    for axis, size in enumerate(spatial):
        padded = (size - 1) * geometry.upsample[axis] + 1
        padded += geometry.pads[axis] + geometry.pads[nd + axis]
        sizes.append(max((padded - geometry.extent[axis]) // geometry.strides[axis] + 1, 0))
    return tuple(sizes)


def sliding_windows(x: Array, geometry: Unfold) -> Array:
    """Return a view (samples, channels, *output, *kernel) of the padded input."""
    geometry = resolve(geometry, x.shape[2:])
    nd = len(geometry.kernel)
    x = _pad(_insert_zeros(x, geometry.upsample), geometry.pads)
    windows = np.lib.stride_tricks.sliding_window_view(
        x, geometry.extent, axis=tuple(range(2, 2 + nd))
    )
    strides = [slice(None, None, s) for s in geometry.strides]
    taps = [slice(None, None, d) for d in geometry.dilations]
    every: tuple[slice, ...] = (slice(None), slice(None), *strides, *taps)
    windows = windows[every]
    if geometry.flip:
        windows = np.flip(windows, axis=tuple(range(2 + nd, 2 + 2 * nd)))
    return windows


def _insert_zeros(x: Array, upsample: tuple[int, ...]) -> Array:
    if all(factor == 1 for factor in upsample):
        return x
    sizes = [(s - 1) * m + 1 for s, m in zip(x.shape[2:], upsample, strict=True)]
    wide = np.zeros((*x.shape[:2], *sizes), x.dtype)
    spread = [slice(None, None, m) for m in upsample]
    every: tuple[slice, ...] = (slice(None), slice(None), *spread)
    wide[every] = x
    return wide


def _pad(x: Array, pads: tuple[int, ...]) -> Array:
    nd = len(pads) // 2
    begin, end = pads[:nd], pads[nd:]
    if any(p < 0 for p in pads):
        crop = [
            slice(max(-b, 0), size - max(-e, 0))
            for b, e, size in zip(begin, end, x.shape[2:], strict=True)
        ]
        every: tuple[slice, ...] = (slice(None), slice(None), *crop)
        x = x[every]
    if any(p > 0 for p in pads):
        width = [(max(b, 0), max(e, 0)) for b, e in zip(begin, end, strict=True)]
        x = np.pad(x, [(0, 0), (0, 0), *width])
    return x
