"""Tells which pixel every kernel position of a depthwise convolution reads, axis by axis."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from onnx_lobs.arrays import Array, BoolArray, FloatArray, IntArray
from onnx_lobs.linalg.convolution.geometry import Unfold, output_sizes
from onnx_lobs.linalg.convolution.unfold import pixels_read

Wide = FloatArray
Indices = IntArray
Pairs = list[tuple[int, int]]


@dataclass(frozen=True)
class Reads:
    """What each kernel position reads at each output along some axes: (positions, outputs)."""

    places: Indices
    is_inside: BoolArray

    @classmethod
    def of(cls, geometry: Unfold, spatial: tuple[int, ...], axes: slice) -> Reads:
        """Return what a resolved geometry reads along some axes of images of a size."""
        begin, end = geometry.pads[: len(spatial)], geometry.pads[len(spatial) :]
        part = replace(
            geometry,
            kernel=geometry.kernel[axes],
            strides=geometry.strides[axes],
            dilations=geometry.dilations[axes],
            pads=begin[axes] + end[axes],
            upsample=geometry.upsample[axes],
        )
        sizes = output_sizes(spatial[axes], part)
        corners = np.unravel_index(np.arange(math.prod(sizes)), sizes)
        places, is_outside = pixels_read(part, corners, spatial[axes])
        return cls(places, ~is_outside)

    @property
    def kernel_size(self) -> int:
        """Number of kernel positions."""
        return len(self.places)

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return int(self.places.shape[1])

    def shared(self, one: int, two: int) -> Pairs:
        """Return the places that two positions read at the outputs at which both read one."""
        both = self.is_inside[one] & self.is_inside[two]
        return list(
            zip(self.places[one, both].tolist(), self.places[two, both].tolist(), strict=True)
        )

    def alone(self, position: int) -> Pairs:
        """Return the outputs at which a position reads, and the places that it reads there."""
        inside = np.flatnonzero(self.is_inside[position])
        return list(zip(inside.tolist(), self.places[position, inside].tolist(), strict=True))

    def counts(self, size: int) -> Wide:
        """Return how often a position reads each of `size` places as another does: (t, t, size)."""
        counts = np.zeros((self.kernel_size, self.kernel_size, size))
        for one, two in itertools.product(range(self.kernel_size), repeat=2):
            both = self.is_inside[one] & self.is_inside[two]
            np.add.at(counts[one, two], self.places[one, both], 1)
        return counts


@dataclass(frozen=True)
class Axes:
    """The image as two axes, the longer one first; the leading ones of three or more are one.

    Attributes
    ----------
    first, second
        What is read along either.
    size
        Of the image along both.
    is_turned
        Whether the first is the image's last.
    """

    first: Reads
    second: Reads
    size: tuple[int, int]
    is_turned: bool

    @classmethod
    def of(cls, geometry: Unfold, spatial: tuple[int, ...]) -> Axes:
        """Return the axes of images of a size, two or more."""
        rows = Reads.of(geometry, spatial, slice(None, -1))
        line = Reads.of(geometry, spatial, slice(-1, None))
        size = math.prod(spatial[:-1]), spatial[-1]
        if size[1] > size[0]:
            return cls(line, rows, (size[1], size[0]), True)
        return cls(rows, line, size, False)

    @property
    def shape(self) -> tuple[int, int]:
        """The size in the image's own order."""
        return self.ordered(self.size)

    def ordered(self, pair: tuple[int, int]) -> tuple[int, int]:
        """Return two numbers, one for each axis, in the image's own order, or from it."""
        return (pair[1], pair[0]) if self.is_turned else pair

    def turn(self, array: Array, *places: int) -> Array:
        """Return a view from the image's order of axes to this one, or back.

        `places` are where such a pair of axes begins; 1 unless given.
        """
        for place in (places or (1,)) if self.is_turned else ():
            array = array.swapaxes(place, place + 1)
        return array


def in_rows(geometry: Unfold, spatial: tuple[int, ...]) -> tuple[Unfold, tuple[int, ...]]:
    """Return the same geometry with at least two axes: a line is an image of one row."""
    if len(spatial) > 1:
        return geometry, spatial
    lifted = replace(
        geometry,
        kernel=(1, *geometry.kernel),
        strides=(1, *geometry.strides),
        dilations=(1, *geometry.dilations),
        pads=(0, geometry.pads[0], 0, geometry.pads[1]),
        upsample=(1, *geometry.upsample),
    )
    return lifted, (1, *spatial)
