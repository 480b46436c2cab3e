"""The Gram of a depthwise convolution's windows from that of its pixels.

An image of 7x7 has 49 pixels, in which 49 windows of 25 taps overlap. Each entry of the windows'
Gram is a sum of entries of the pixels' Gram, which is added up over the samples, without any
window, and read off once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.unfold import Unfold, output_sizes, pixels_read, resolve

Array = NDArray[Any]
Wide = NDArray[np.float64]


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

    def add(self, x: Array) -> None:
        """Add a batch (samples, channels, *spatial). Not modified."""
        self.gram.update(x.reshape(*x.shape[:2], -1).swapaxes(0, 1))

    def result(self) -> tuple[Wide, Wide, int]:
        """Return matrix, total and count, as :func:`onnx_lobs.linalg.conv_gram.conv_gram`."""
        sizes = output_sizes(self.spatial, self.geometry)
        corners = np.unravel_index(np.arange(math.prod(sizes)), sizes)
        pixels, is_outside = pixels_read(self.geometry, corners, self.spatial)
        taps, outputs = pixels.shape
        matrix = np.zeros((self.gram.groups, taps, taps))
        total = np.zeros((self.gram.groups, taps))
        of_pixels, sums = self.gram.matrix, self.gram.total
        for output in range(outputs):
            inside = np.flatnonzero(~is_outside[:, output])
            read = pixels[inside, output]
            matrix[:, inside[:, None], inside] += of_pixels[:, read[:, None], read]
            total[:, inside] += sums[:, read]
        return matrix, total, self.gram.count * outputs
