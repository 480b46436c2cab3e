"""Describes the windows of every convolution: their steps, their pads, and how many there are.

One record, :class:`Unfold`, describes Conv and ConvTranspose in 1 to 3 dimensions with any
groups, strides, dilations and pads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


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
    def kernel_size(self) -> int:
        """Number of kernel positions."""
        return math.prod(self.kernel)

    @property
    def is_pointwise(self) -> bool:
        """Whether every window is one pixel of the input, and every pixel a window."""
        steps = (*self.kernel, *self.strides, *self.upsample)
        return (
            all(n == 1 for n in steps)
            and not any((*self.pads, *self.output_padding))
            and (not self.output_shape)
        )

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
    onnxruntime has it. Steps that lead out of the input at once are made as short as they may be.
    """
    with_pads = _resolve_pads(geometry, spatial)
    return _with_short_steps(with_pads, spatial)


def _with_short_steps(geometry: Unfold, spatial: tuple[int, ...]) -> Unfold:
    """Cut steps beyond the padded input, and between pixels of which there is one: no difference.

    Their length alone would else decide the memory and the time that positions take.
    """
    upsample = tuple(
        up if size > 1 else 1 for size, up in zip(spatial, geometry.upsample, strict=True)
    )
    n = len(spatial)
    padded = [
        (size - 1) * up + 1 + geometry.pads[i] + geometry.pads[n + i]
        for i, (size, up) in enumerate(zip(spatial, upsample, strict=True))
    ]
    strides = tuple(
        min(stride, max(room, 1)) for stride, room in zip(geometry.strides, padded, strict=True)
    )
    if (strides, upsample) == (geometry.strides, geometry.upsample):
        return geometry
    return replace(geometry, strides=strides, upsample=upsample)


def _resolve_pads(geometry: Unfold, spatial: tuple[int, ...]) -> Unfold:
    """Return `geometry` with explicit pads."""
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


def n_positions(shape: tuple[int, ...], geometry: Unfold) -> int:
    """Return samples * output positions for an input of `shape` (samples, channels, ...)."""
    spatial = shape[2:]
    return shape[0] * math.prod(output_sizes(spatial, resolve(geometry, spatial)))


def output_sizes(spatial: tuple[int, ...], geometry: Unfold) -> tuple[int, ...]:
    """Return the sizes of the output of a resolved geometry, for an input of size `spatial`."""
    nd = len(spatial)
    sizes = []
    for axis, size in enumerate(spatial):
        padded = (size - 1) * geometry.upsample[axis] + 1
        padded += geometry.pads[axis] + geometry.pads[nd + axis]
        sizes.append(max((padded - geometry.extent[axis]) // geometry.strides[axis] + 1, 0))
    return tuple(sizes)
