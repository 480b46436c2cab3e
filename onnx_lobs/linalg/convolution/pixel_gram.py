"""Adds up the Gram of a depthwise convolution's windows from that of its pixels.

An image of 14x14 has 196 pixels, in which 196 windows of 25 kernel positions overlap. Each entry of
the windows' Gram is a sum of entries of the pixels' Gram, which one product per channel gives,
without any window. The pixels' Gram is large, so it is never kept: of some samples and channels at
a time it is made in a small buffer, and at once added up along the longer axis of the image, over
the places that a pair of kernel positions of that axis meets; what stays is a matrix of the shorter
axis, (size, size), for each of these pairs. They are added up along it once, at the end. So are the
products with a target, of which every output is known.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.linalg.accumulator import TargetObservations, refuse_target
from onnx_lobs.linalg.convolution.geometry import Unfold, resolve
from onnx_lobs.linalg.convolution.pixel_axes import Axes, Pairs, in_rows
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Moments

Wide = FloatArray

TOGETHER = 64  # samples that are multiplied at once: the sums of few cost more than the products
BUFFER_BYTES = 2 << 20  # of the products of some channels


class Waiting:
    """Samples (channels, samples, pixels) that wait until they are enough to be multiplied.

    They are copied into memory that is used again and again: batches that are kept make those
    who compute the next ones take fresh memory, which costs more than the copy.
    """

    def __init__(self) -> None:
        self._memory: Array | None = None
        self._count = 0

    def put(self, batch: Array) -> Iterator[Array]:
        """Take a batch over, and yield what waits each time that it is enough.

        What is yielded, float32 or float64, may be changed; it is overwritten by what comes next.
        """
        kind = np.result_type(np.float32, batch.dtype)
        if self._memory is None or self._memory.dtype != kind:
            yield from self.rest()
            self._memory = np.empty((len(batch), TOGETHER, batch.shape[2]), kind)
        done = 0
        while done < batch.shape[1]:
            part = batch[:, done : done + TOGETHER - self._count]
            self._memory[:, self._count : self._count + part.shape[1]] = part
            self._count, done = self._count + part.shape[1], done + part.shape[1]
            if self._count == TOGETHER:
                yield from self.rest()

    def rest(self) -> Iterator[Array]:
        """Yield what still waits, if anything does."""
        if self._memory is not None and self._count:
            count, self._count = self._count, 0
            yield self._memory[:, :count]


class PairSums:
    """Products (channels, place, place, ...) of two images, added up over pairs of places.

    Several lists of pairs are added up, each for itself. Those a distance apart have most of
    their pairs in common, which are added up once; what a list lacks is taken off again.

    Attributes
    ----------
    sums
        (lists, channels, ...) float64.
    """

    def __init__(self, lists: list[Pairs], channels: int, shape: tuple[int, ...]) -> None:
        self.sums = np.zeros((len(lists), channels, *shape))
        together: dict[int, list[int]] = {}
        for place, pairs in enumerate(lists):
            if pairs:
                together.setdefault(pairs[0][1] - pairs[0][0], []).append(place)
        self._plans: list[tuple[Pairs, list[tuple[int, Pairs]]]] = []
        # a plan: pairs that are added up once, and the lists that take the sum, less what they lack
        for places in together.values():
            every = sorted({pair for place in places for pair in lists[place]})
            near = []
            for place in places:
                lacks = sorted(set(every).difference(lists[place]))
                if 2 * len(lacks) < len(every):
                    near.append((place, lacks))
                else:
                    self._plans.append((lists[place], [(place, [])]))
            if near:
                self._plans.append((every, near))

    def add(self, channels: slice, products: Array) -> None:
        """Add the products of some channels."""
        shape = self.sums[0, channels].shape
        for every, lists in self._plans:
            whole = np.zeros(shape)
            for one, two in every:
                whole += products[:, one, two]
            for place, lacks in lists:
                total = self.sums[place, channels]
                total += whole
                for one, two in lacks:
                    total -= products[:, one, two]


class PixelSums:
    """Adds up the Gram of a depthwise convolution over images of one size.

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
    The mean of each channel, over the first samples, is taken off first and put back in float64,
    so that rounding is relative to the variances. Cost: P² flops per sample and channel; memory
    8 s² bytes for each channel and pair of kernel positions of the longer axis, where s is the size
    of the shorter one, :data:`TOGETHER` samples, and 2 MiB or the products of one channel.
    """

    def __init__(
        self, geometry: Unfold, groups: int, spatial: tuple[int, ...], channels: int
    ) -> None:
        if groups != channels:
            raise ValueError(f"{channels} channels in {groups} groups: not depthwise")
        geometry, spatial = in_rows(resolve(geometry, spatial), spatial)
        self.axes = Axes.of(geometry, spatial)
        self.image = np.zeros((channels, *self.axes.size))
        self.mean: Array | None = None
        self.samples = 0
        pairs = [self.axes.first.shared(*pair) for pair in self._pairs]
        self._sums = PairSums(pairs, channels, (self.axes.size[1],) * 2)
        self._waiting = Waiting()

    @property
    def _pairs(self) -> Pairs:
        """The pairs of kernel positions of the first axis: the Gram is symmetric."""
        positions = range(self.axes.first.kernel_size)
        return list(itertools.combinations_with_replacement(positions, 2))

    def add(self, observations: Array, target: TargetObservations | None = None) -> None:
        """Add all windows of a batch of images (samples, channels, *spatial). Not modified.

        Raises
        ------
        ValueError
            When there is a target.
        """
        refuse_target(target)
        for images in self._waiting.put(by_channel(observations)):
            self.multiply(images)

    def multiply(self, x: Array) -> None:
        """Add images (channels, samples, pixels) of the working type, and take off their mean."""
        if self.mean is None:
            self.mean = x.mean(axis=2).mean(axis=1)
        x -= self.mean[:, None, None]
        shape = self.axes.shape
        # sums per pixel, for putting the mean back
        self.image += self.axes.turn(x.sum(axis=1).reshape(-1, *shape))
        self.samples += x.shape[1]
        # products of all pixels, added up at once along the longer axis
        for channels, products in pixel_products(x, x):
            both = self.axes.turn(products.reshape(-1, *shape, *shape), 1, 3)
            self._sums.add(channels, both.swapaxes(2, 3))

    def result(self) -> Moments:
        """Return the moments of the inputs, as :meth:`~.offset_gram.ConvSums.result`."""
        for images in self._waiting.rest():
            self.multiply(images)
        axes, channels = self.axes, len(self.image)
        one, two = axes.first.kernel_size, axes.second.kernel_size
        matrix: Wide = np.zeros((channels, one, two, one, two))
        total: Wide = np.zeros((channels, one, two))
        if self.mean is not None:
            # along the shorter axis, for each pair of positions of the longer one
            along = self._sums.sums.reshape(-1, axes.size[1] ** 2) @ self._second_pairs()
            along = along.reshape(-1, channels, two, two)
            for (p, q), sums in zip(self._pairs, along, strict=True):
                matrix[:, q, :, p] = sums.swapaxes(1, 2)
                matrix[:, p, :, q] = sums
            # put the mean back: x x = x' x' + x' mean + mean x' + mean mean, ' being less the mean
            mean = self.mean.astype(np.float64).reshape(-1, 1, 1, 1, 1)
            local, counts = self.local()
            half = (local + 0.5 * counts * mean) * mean
            matrix += half
            matrix += half.transpose(0, 3, 4, 1, 2)
            total = np.einsum("cabab->cab", local + counts * mean)
        # in the image's own order of axes, one column per kernel position
        shape = channels, one * two
        matrix, total = axes.turn(matrix, 1, 3), axes.turn(total)
        matrix, total = matrix.reshape(*shape, shape[1]), total.reshape(shape)
        count = self.samples * axes.first.outputs * axes.second.outputs
        return Moments(Gram.of(matrix, total, count))

    def _second_pairs(self) -> Wide:
        """Return how often two positions of the second axis read two places at once."""
        n_kernel, size = self.axes.second.kernel_size, self.axes.size[1]
        counts = np.zeros((size, size, n_kernel, n_kernel))
        for pair in itertools.product(range(n_kernel), repeat=2):
            for places in self.axes.second.shared(*pair):
                counts[places + pair] += 1
        return counts.reshape(size**2, n_kernel**2)

    def local(self) -> tuple[Wide, Wide]:
        """Return what a position reads where another reads too, less the mean, and how often.

        (channels, positions of the first axis, of the second, and the same of the other position),
        and without channels.
        """
        first, second = self.axes.first, self.axes.second
        one, two = first.counts(self.axes.size[0]), second.counts(self.axes.size[1])
        # (channels, second axis, position, other position)
        part = np.tensordot(self.image, one, axes=(1, 2))
        local = np.tensordot(part, two, axes=(1, 2)).transpose(0, 1, 3, 2, 4)
        counts = np.multiply.outer(one.sum(axis=2), two.sum(axis=2)).transpose(0, 2, 1, 3)
        return local, self.samples * counts


def by_channel(x: Array) -> Array:
    """Return images (samples, channels, *spatial) as (channels, samples, pixels)."""
    turned: Array = x.reshape(*x.shape[:2], -1).swapaxes(0, 1)
    return turned


def pixel_products(y: Array, x: Array) -> Iterator[tuple[slice, Array]]:
    """Yield yᵀx (channels, columns of y, columns of x) of some channels at a time.

    What is yielded is overwritten by the next. Of one array with itself that is a SYRK.
    """
    shape = y.shape[2], x.shape[2]
    some = max(1, BUFFER_BYTES // (x.itemsize * math.prod(shape)))
    buffer = np.empty((min(some, len(x)), *shape), dtype=np.result_type(x, y))
    for start in range(0, len(x), some):
        channels = slice(start, min(start + some, len(x)))
        out = buffer[: channels.stop - start]
        np.matmul(y[channels].swapaxes(1, 2), x[channels], out=out)
        yield channels, out
