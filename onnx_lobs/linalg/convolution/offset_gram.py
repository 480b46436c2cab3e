"""Adds up the Gram of a convolution's windows without its windows.

In ``X^T X`` of an unfolded activation, the (channels x channels) block of two kernel positions p, q
is ``sum_o z[o + p] z[o + q]^T``: up to the borders of the image it depends on q - p alone. A
3x3 kernel has 45 blocks in half of its Gram and 13 differences. Each difference is multiplied
once over the whole image, as one product of the image with itself moved, and what a block's
own window leaves out at the borders is multiplied apart and taken off. Nothing is unfolded.

Strides split the image into interleaved sub-images, one per phase, between which the same
holds; in a ConvTranspose only kernel positions that meet the same inserted zeros pair at all, so
the zeros are never made.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.linalg.accumulator import TargetObservations, refuse_target
from onnx_lobs.linalg.convolution.geometry import Unfold, n_positions, resolve
from onnx_lobs.linalg.convolution.offset_products import (
    Box,
    ProductPlan,
    lengths_of,
    make_plan,
    ranges_of,
)
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Moments
from onnx_lobs.linalg.workers import map_batches

Wide = FloatArray

BUFFER_BYTES = 1 << 22
SHARED_BYTES = 1 << 25  # of a Gram that several threads put together


def is_supported(geometry: Unfold) -> bool:
    """Whether :class:`ConvSums` takes `geometry`: any but stride and inserted zeros at once.

    Conv has no inserted zeros and ConvTranspose no stride, so every ONNX operator is taken.
    """
    pairs = zip(geometry.strides, geometry.upsample, strict=True)
    return all(stride == 1 or up == 1 for stride, up in pairs)


class ConvSums:
    """Adds up the second moments of the windows of images of one size, exact to rounding.

    They are ``sum_o w_o w_o^T`` over all outputs o of all samples, where w_o is the window that
    :func:`onnx_lobs.linalg.convolution.unfold.unfold` gives for o.

    Only the products of kernel positions a distance apart are kept between batches, for 3x3 kernels
    13/81 of the Gram; the Gram itself is put together once.

    Parameters
    ----------
    geometry
        Of a Conv or ConvTranspose in any number of dimensions; see :func:`is_supported`.
    groups
        Channel groups; `channels` is a multiple of it.
    spatial
        Size of the images.
    channels
        Of the images.

    Raises
    ------
    ValueError
        When :func:`is_supported` is False.

    Notes
    -----
    The mean of each channel, over the first batch, is taken off first and put back in float64,
    so that rounding is relative to the variances. Products are in float32 (float64 for float64
    data), of at most 4 MiB of samples, and add up in float64. Cost: with D different pairs of
    kernel positions (13 of 45 for 3x3, 41 of 325 for 5x5) 2 D n channels^2 / groups flops over the
    image with a gap of one kernel less one at every border, the borders, and a few passes over the
    Gram; memory 4 MiB and two to three times the Gram.
    """

    def __init__(
        self, geometry: Unfold, groups: int, spatial: tuple[int, ...], channels: int
    ) -> None:
        if not is_supported(geometry):
            raise ValueError(
                f"strides {geometry.strides} over an input spread by {geometry.upsample}: a "
                "convolution has one or the other, not both; use unfold"
            )
        geometry = resolve(geometry, spatial)
        self.plan = make_plan(geometry, spatial)
        self.groups, self.inside = groups, channels // groups
        self.outputs = n_positions((1, channels, *spatial), geometry)
        self.samples = 0
        self.mean: Array | None = None
        self.sums = np.zeros((len(self.plan.pieces), groups, self.inside, self.inside))
        self.image = np.zeros((channels, *spatial))

    def add(self, observations: Array, target: TargetObservations | None = None) -> None:
        """Add all windows of a batch of images (samples, channels, *spatial). Not modified.

        Raises
        ------
        ValueError
            When there is a target.
        """
        refuse_target(target)
        x = observations
        if x.size == 0 or self.outputs == 0:
            return
        x = x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)
        if self.mean is None:
            self.mean = x.reshape(*x.shape[:2], -1).mean(axis=2).mean(axis=0)
        for part in _parts(x, self.plan):
            _multiply(part, self.mean, self.plan, self.sums, self.image)
        self.samples += len(x)

    def result(self) -> Moments:
        """Return the moments of the inputs, with d = channels / groups * kernel_size columns.

        The columns are channel-major, with the kernel position fastest.
        """
        plan, groups, inside = self.plan, self.groups, self.inside
        columns = inside * math.prod(len(row) for row in plan.kernel_positions)
        if self.mean is None:
            return Moments(Gram(groups, columns))
        # what a position reads where another reads too, and how often it does
        local = _sum_together(self.image, plan).reshape(groups, inside, *plan.index.shape)
        counts = self.samples * _sum_together(np.ones((1, *plan.spatial)), plan)[0]
        # the Gram with the means put back
        centre = self.mean.reshape(groups, inside).astype(np.float64)
        matrix = _assemble(self.sums, local, counts, centre, plan)
        total = (local + counts * centre[:, :, None, None]).diagonal(axis1=2, axis2=3)
        count = self.samples * self.outputs
        matrix, total = matrix.reshape(groups, columns, columns), total.reshape(groups, columns)
        return Moments(Gram.of(matrix, total, count))


def samples_at_once(shape: tuple[int, ...], plan: ProductPlan, itemsize: int) -> int:
    """Return how many samples of an activation of `shape` are multiplied together."""
    width = len(plan.phases) * shape[1] * math.prod(plan.sizes) * itemsize
    return max(1, min(shape[0], BUFFER_BYTES // width))


def _parts(x: Array, plan: ProductPlan) -> Iterator[Array]:
    step = samples_at_once(x.shape, plan, x.dtype.itemsize)
    for begin in range(0, x.shape[0], step):
        yield x[begin : begin + step]


def _multiply(x: Array, mean: Array, plan: ProductPlan, sums: Wide, image: Wide) -> None:
    """Add the pieces of some samples to `sums`, and the samples to `image`, less the mean."""
    samples, channels = x.shape[:2]
    # one padded sub-image per phase, less the mean
    spread = (channels,) + (1,) * (x.ndim - 1)
    parts: dict[tuple[int, ...], Array] = {}
    for phase in plan.phases:
        pixels = [slice(p, None, s) for p, s in zip(phase, plan.step, strict=True)]
        every: tuple[slice, ...] = (slice(None), *pixels)
        seen = x.swapaxes(0, 1)[every[:1] + every]
        padded = np.zeros((channels, samples, *plan.sizes), x.dtype)
        inner = padded[tuple(slice(size) for size in seen.shape)]
        np.subtract(seen, mean.reshape(spread), out=inner)
        image[every] += inner.sum(axis=1)
        parts[phase] = padded.reshape(*sums.shape[1:3], samples, *plan.sizes)
    # one product per piece: of two sub-images, the second moved
    for total, (key, box) in zip(sums, plan.pieces, strict=True):
        left, right = (_in_box if box else _whole)(parts[key[0]], parts[key[1]], key[2], box)
        total += left @ right.swapaxes(1, 2)


def _whole(a: Array, b: Array, shift: tuple[int, ...], box: Box) -> tuple[Array, Array]:
    """Return the pixels of `a` and those of `b` at `shift` from them; views.

    The gap of zeros at the end of every axis keeps one row from the next.
    """
    offset = 0
    for step, size in zip(shift, a.shape[3:], strict=True):
        offset = offset * size + step
    a, b = a.reshape(*a.shape[:2], -1), b.reshape(*b.shape[:2], -1)
    n = a.shape[2]
    if offset == 0:
        return a, b
    return a[..., max(0, -offset) : n - max(0, offset)], b[..., max(0, offset) : n + min(0, offset)]


def _in_box(a: Array, b: Array, shift: tuple[int, ...], box: Box) -> tuple[Array, Array]:
    """Return the pixels of `a` in a box and those of `b` at `shift` from them; copies."""
    samples = (slice(None),) * 3
    here = samples + tuple(slice(lo, hi) for lo, hi in box)
    left = a[here].reshape(*a.shape[:2], -1)
    if a is b and not any(shift):
        return left, left  # which is multiplied at half the flops
    there = samples + tuple(slice(lo + s, hi + s) for (lo, hi), s in zip(box, shift, strict=True))
    return left, b[there].reshape(*b.shape[:2], -1)


def _assemble(sums: Wide, local: Wide, counts: Wide, mean: Wide, plan: ProductPlan) -> Wide:
    """Return the Gram (groups, channels, positions, channels, positions), means put back.

    With y = x - mean, a block gains ``sum y_p mean^T + mean sum y_q^T + n mean mean^T``, each
    over the outputs at which both kernel positions read pixels: `local` and `counts`. Large ones
    are put together by several threads, position by position.
    """
    n = len(plan.blocks)
    groups, inside, n_kernel = local.shape[:3]
    blocks = np.zeros((2 * n + 1, *sums.shape[1:]))
    half = local + 0.5 * counts * mean[:, :, None, None]
    matrix = np.empty((groups, inside, n_kernel, inside, n_kernel))

    # the block of a difference, from signed pieces, and its transpose
    def add_up(place: int) -> None:
        for sign, piece in plan.blocks[place]:
            (np.add if sign > 0 else np.subtract)(blocks[place], sums[piece], out=blocks[place])
        blocks[n + place] = blocks[place].swapaxes(1, 2)

    def place_position(p: int) -> None:
        # (groups, channels, positions, channels)
        panel = blocks[plan.index[p]].transpose(1, 2, 0, 3)
        panel += half[:, :, p, :, None] * mean[:, None, None, :]
        panel += mean[:, :, None, None] * half[:, None, :, :, p].swapaxes(2, 3)
        matrix[:, :, p] = panel.swapaxes(2, 3)

    workers = None if matrix.nbytes >= SHARED_BYTES else 1
    map_batches(add_up, range(n), workers)
    map_batches(place_position, range(n_kernel), workers)
    return matrix


def _sum_together(image: Wide, plan: ProductPlan) -> Wide:
    """Return (channels, p, q): what position p reads, summed where position q reads too."""
    nd = len(plan.kernel_positions)
    # along each axis: which pixels position i reads at outputs at which j reads one
    for axis, (step, row) in enumerate(zip(plan.step, plan.kernel_positions, strict=True)):
        size = plan.spatial[axis]
        seen = np.zeros((len(row), len(row), size))
        for i, j in itertools.product(range(len(row)), repeat=2):
            (lo, hi), _ = ranges_of(row[i], row[j], lengths_of(size, step))
            seen[i, j, row[i].phase :: step][lo : max(lo, hi)] = 1
        image = np.tensordot(image, seen, axes=(1, 2))
    # from (channels, i, j per axis) to (channels, all i, all j)
    order = (0, *range(1, 2 * nd, 2), *range(2, 2 * nd + 1, 2))
    n_kernel = math.isqrt(image[0].size)
    together: Wide = image.transpose(order).reshape(-1, n_kernel, n_kernel)
    return together
