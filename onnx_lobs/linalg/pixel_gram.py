"""The Gram of a depthwise convolution's windows from that of its pixels.

An image of 7x7 has 49 pixels, in which 49 windows of 25 taps overlap. Each entry of the windows'
Gram is a sum of entries of the pixels' Gram, which is added up over the samples, without any
window, and read off once. So are its products with a target, of which every output is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_lobs.linalg.gram import Centred, Gram
from onnx_lobs.linalg.moments import TargetMoments
from onnx_lobs.linalg.unfold import Unfold, output_sizes, pixels_read, resolve

Array = NDArray[Any]
Wide = NDArray[np.float64]
Indices = NDArray[np.int64]


class PixelSums:
    """Sums over images of one size that the Gram of a depthwise convolution is made of.

    Parameters
    ----------
    geometry
        Of a Conv or ConvTranspose in any number of dimensions.
    groups, channels
        Their numbers, which are the same.
    spatial
        Size of the images, of P pixels.

    Notes
    -----
    Cost: P² flops per sample and channel, and once, for T taps, T² per output and channel;
    memory :func:`onnx_lobs.linalg.gram.gram_bytes` of P columns.
    """

    def __init__(
        self, geometry: Unfold, groups: int, spatial: tuple[int, ...], channels: int
    ) -> None:
        if groups != channels:
            raise ValueError(f"{channels} channels in {groups} groups: not depthwise")
        self.geometry, self.spatial = resolve(geometry, spatial), spatial
        self.gram = Gram(channels, math.prod(spatial))

    def add(self, x: Array) -> Centred:
        """Add a batch (samples, channels, *spatial). Not modified."""
        return self.gram.update(x.reshape(*x.shape[:2], -1).swapaxes(0, 1))

    def result(self) -> tuple[Wide, Wide, int]:
        """Return matrix, total and count, as :func:`onnx_lobs.linalg.conv_gram.conv_gram`."""
        taps = self.geometry.taps
        matrix = np.zeros((self.gram.groups, taps, taps))
        total = np.zeros((self.gram.groups, taps))
        of_pixels, sums = self.gram.matrix, self.gram.total
        reads = list(self.reads())
        for inside, read in reads:
            matrix[:, inside[:, None], inside] += of_pixels[:, read[:, None], read]
            total[:, inside] += sums[:, read]
        return matrix, total, self.gram.count * len(reads)

    def reads(self) -> Iterator[tuple[Indices, Indices]]:
        """Yield, for each output, the taps that read a pixel, and which pixel."""
        sizes = output_sizes(self.spatial, self.geometry)
        corners = np.unravel_index(np.arange(math.prod(sizes)), sizes)
        pixels, is_outside = pixels_read(self.geometry, corners, self.spatial)
        for places, outside in zip(pixels.T, is_outside.T, strict=True):
            inside = np.flatnonzero(~outside)
            yield inside, places[inside]


class PixelTargets:
    """The same sums together with those of a target at all outputs.

    Parameters
    ----------
    geometry, groups, spatial, channels
        As for :class:`PixelSums`.
    rows
        Of the target, per group.

    Notes
    -----
    Cost: 2 rows O P flops more per sample and channel, for O outputs, and once as many additions
    as there are weights times outputs; memory 8 rows O P bytes more per channel.
    """

    def __init__(
        self, geometry: Unfold, groups: int, spatial: tuple[int, ...], channels: int, rows: int
    ) -> None:
        self.inputs = PixelSums(geometry, groups, spatial, channels)
        self.rows, self.outputs = rows, len(list(self.inputs.reads()))
        self.products = TargetMoments.zeros(groups, self.outputs * rows, math.prod(spatial))

    def add(self, x: Array, y: Array) -> None:
        """Add a batch, and the target (groups, samples * outputs, rows), sample by sample."""
        flat = y.reshape(y.shape[0], len(x), self.outputs * self.rows)
        self.products.update(flat, self.inputs.add(x))

    def result(self) -> TargetMoments:
        """Return the sums of the target against the windows."""
        groups, _, pixels = self.products.cross.shape
        shape = groups, self.outputs, self.rows
        of_pixels = self.products.cross.reshape(*shape, pixels)
        cross = np.zeros((groups, self.rows, self.inputs.geometry.taps))
        for output, (inside, read) in enumerate(self.inputs.reads()):
            cross[:, :, inside] += of_pixels[:, output][:, :, read]
        total, energy = (
            sums.reshape(shape).sum(axis=1) for sums in (self.products.total, self.products.energy)
        )
        return TargetMoments(cross, total, energy)
