"""The Gram of a depthwise convolution's windows from that of its pixels.

An image of 7x7 has 49 pixels, in which 49 windows of 25 taps overlap. Each entry of the windows'
Gram is a sum of entries of the pixels' Gram, which is added up over the samples, without any
window, and read off once. So are its products with a target, of which every output is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import TargetMoments
from onnx_lobs.linalg.unfold import Unfold, output_sizes, pixels_read, resolve

Array = NDArray[Any]
Wide = NDArray[np.float64]
Indices = NDArray[np.int64]


TOGETHER = 64  # samples that are multiplied at once: the sums of few cost more than the products


class _Waiting:
    """Batches (channels, samples, ...) that are to be multiplied together."""

    def __init__(self) -> None:
        self._batches: list[tuple[Array, ...]] = []

    @property
    def is_enough(self) -> bool:
        """Whether there are as many samples as are multiplied at once."""
        return sum(int(batch[0].shape[1]) for batch in self._batches) >= TOGETHER

    def put(self, *batch: Array) -> None:
        """Remember a batch."""
        self._batches.append(batch)

    def take_over(self, other: _Waiting) -> None:
        """Remember what waits elsewhere."""
        self._batches += other._batches
        other._batches = []

    def take(self) -> Iterator[tuple[Array, ...]]:
        """Yield all that are waiting, in batches that are enough, but for the last."""
        waiting = _Waiting()
        while self._batches:
            waiting.put(*self._batches.pop(0))
            if waiting.is_enough or not self._batches:
                parts = zip(*waiting._batches, strict=True)
                yield tuple(np.concatenate(each, axis=1) for each in parts)
                waiting = _Waiting()


def _by_channel(x: Array) -> Array:
    """Return images (samples, channels, *spatial) as (channels, samples, pixels)."""
    turned: Array = x.reshape(*x.shape[:2], -1).swapaxes(0, 1)
    return turned


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
    Cost: P² flops per sample and channel, and once, for T taps, 2 T² per output and channel;
    memory :func:`onnx_lobs.linalg.gram.gram_bytes` of P columns.
    """

    def __init__(
        self, geometry: Unfold, groups: int, spatial: tuple[int, ...], channels: int
    ) -> None:
        if groups != channels:
            raise ValueError(f"{channels} channels in {groups} groups: not depthwise")
        self.geometry, self.spatial = resolve(geometry, spatial), spatial
        self.gram = Gram(channels, math.prod(spatial))
        self._waiting = _Waiting()

    def add(self, x: Array) -> None:
        """Add a batch (samples, channels, *spatial), which must not change any more."""
        self._waiting.put(_by_channel(x))
        if self._waiting.is_enough:
            self._settle()

    def merge(self, other: PixelSums) -> None:
        """Add what `other`, for images of the same size, has added up."""
        self._waiting.take_over(other._waiting)
        if other.gram.count:
            self.gram.merge(other.gram)

    def _settle(self) -> None:
        for (x,) in self._waiting.take():
            self.gram.update(x)

    def result(self) -> tuple[Wide, Wide, int]:
        """Return matrix, total and count, as :func:`onnx_lobs.linalg.conv_gram.conv_gram`."""
        self._settle()
        reads, pixels = Reads.of(self.geometry, self.spatial), self.gram.columns
        matrix = reads.pairs(pixels) @ self.gram.matrix.reshape(-1, pixels**2).T
        total = reads.singles(pixels) @ self.gram.total.T
        shape = self.gram.groups, reads.taps, reads.taps
        return matrix.T.reshape(shape), total.T, self.gram.count * reads.outputs


@dataclass(frozen=True)
class Reads:
    """Which pixel each tap reads at each output: (taps, outputs), and where it reads one."""

    places: Indices
    is_inside: NDArray[np.bool_]

    @classmethod
    def of(cls, geometry: Unfold, spatial: tuple[int, ...]) -> Reads:
        """Return what a resolved geometry reads of images of a size."""
        sizes = output_sizes(spatial, geometry)
        corners = np.unravel_index(np.arange(math.prod(sizes)), sizes)
        places, is_outside = pixels_read(geometry, corners, spatial)
        return cls(places, ~is_outside)

    @property
    def taps(self) -> int:
        """Number of taps."""
        return len(self.places)

    @property
    def outputs(self) -> int:
        """Number of outputs of an image."""
        return int(self.places.shape[1])

    def singles(self, pixels: int) -> csr_array:
        """Return how often each tap reads each pixel, (taps, pixels)."""
        tap, output = np.nonzero(self.is_inside)
        return _counts(tap, self.places[tap, output], (self.taps, pixels))

    def at_outputs(self, pixels: int) -> csr_array:
        """Return whether a tap reads a pixel at an output, (taps, outputs * pixels)."""
        tap, output = np.nonzero(self.is_inside)
        places = output * pixels + self.places[tap, output]
        return _counts(tap, places, (self.taps, self.outputs * pixels))

    def pairs(self, pixels: int) -> csr_array:
        """Return how often two taps read two pixels at once, (taps², pixels²)."""
        one, two, output = np.nonzero(self.is_inside[:, None] & self.is_inside)
        places = self.places[one, output] * pixels + self.places[two, output]
        return _counts(one * self.taps + two, places, (self.taps**2, pixels**2))


def _counts(rows: Indices, columns: Indices, shape: tuple[int, int]) -> csr_array:
    return csr_array((np.ones(rows.size), (rows, columns)), shape=shape)


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
        self.reads = Reads.of(self.inputs.geometry, spatial)
        self.rows, self.outputs = rows, self.reads.outputs
        self.products = TargetMoments.zeros(groups, self.outputs * rows, math.prod(spatial))
        self._waiting = _Waiting()

    def add(self, x: Array, y: Array) -> None:
        """Add a batch, and the target (groups, samples * outputs, rows), sample by sample.

        Neither must change any more.
        """
        flat = y.reshape(y.shape[0], len(x), self.outputs * self.rows)
        self._waiting.put(_by_channel(x), flat)
        if self._waiting.is_enough:
            self._settle()

    def merge(self, other: PixelTargets) -> None:
        """Add what `other`, for images of the same size, has added up."""
        self._waiting.take_over(other._waiting)
        if other.inputs.gram.count:
            self.inputs.merge(other.inputs)
            self.products.merge(other.products)

    def _settle(self) -> None:
        for x, y in self._waiting.take():
            self.products.update(y, self.inputs.gram.update(x))

    def result(self) -> tuple[Wide, Wide, int, TargetMoments]:
        """Return :meth:`PixelSums.result`, and the sums of the target against the windows."""
        self._settle()
        groups, _, pixels = self.products.cross.shape
        shape = groups, self.outputs, self.rows
        of_pixels = self.products.cross.reshape(*shape, pixels).transpose(1, 3, 0, 2)
        cross = self.reads.at_outputs(pixels) @ of_pixels.reshape(self.outputs * pixels, -1)
        total, energy = (
            sums.reshape(shape).sum(axis=1) for sums in (self.products.total, self.products.energy)
        )
        by_row = cross.reshape(-1, groups, self.rows).transpose(1, 2, 0)
        return *self.inputs.result(), TargetMoments(by_row, total, energy)
