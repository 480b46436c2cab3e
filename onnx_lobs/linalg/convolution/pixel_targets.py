"""Adds up a depthwise convolution's target against its windows, from products of its pixels."""

from __future__ import annotations

import math

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.linalg.accumulator import TargetObservations
from onnx_lobs.linalg.convolution.geometry import Unfold
from onnx_lobs.linalg.convolution.pixel_gram import (
    PairSums,
    PixelSums,
    Waiting,
    by_channel,
    pixel_products,
)
from onnx_lobs.linalg.moments import Moments, TargetMoments

Wide = FloatArray


class PixelTargets:
    """Adds up what :class:`PixelSums` does together with a target that is known at all outputs.

    Parameters
    ----------
    geometry, groups, spatial, channels
        As for :class:`PixelSums`.
    rows
        Of the target, per group.

    Notes
    -----
    Cost: 2 rows O P flops more per sample and channel, for O outputs; memory 8 rows s² bytes more
    for each channel and position of the longer axis.
    """

    def __init__(
        self, geometry: Unfold, groups: int, spatial: tuple[int, ...], channels: int, rows: int
    ) -> None:
        self.inputs = PixelSums(geometry, groups, spatial, channels)
        self.rows = rows
        axes = self.inputs.axes
        self.outputs = axes.first.outputs, axes.second.outputs
        self.total = np.zeros((channels, *self.outputs, rows))
        self.energy = np.zeros((channels, rows))
        self.mean: Array | None = None
        lists = [axes.first.alone(position) for position in range(axes.first.kernel_size)]
        self._sums = PairSums(lists, channels, (self.outputs[1], rows, axes.size[1]))
        self._waiting = Waiting(), Waiting()

    def add(self, observations: Array, target: TargetObservations | None = None) -> None:
        """Add a batch of images (samples, channels, *spatial), and the target at all outputs.

        The target (groups, samples * outputs, rows) is in the samples' order. Neither is modified.

        Raises
        ------
        ValueError
            When there is no target, or it is not the outputs'.
        """
        if target is None or not target.is_output:
            raise ValueError("sums of targets are given no output to aim at; use PixelSums")
        x, y = observations, target.data
        images, targets = self._waiting
        flat = y.reshape(len(y), len(x), math.prod(self.outputs) * self.rows)
        for both in zip(images.put(by_channel(x)), targets.put(flat), strict=True):
            self._multiply(*both)

    def _multiply(self, x: Array, y: Array) -> None:
        self.inputs.multiply(x)
        # less the mean of each row over the first samples, as the inputs are
        by_row = y.reshape(*y.shape[:2], -1, self.rows)
        if self.mean is None:
            self.mean = by_row.mean(axis=2).mean(axis=1)
        by_row -= self.mean[:, None, None]
        # sums and squares of the target alone
        axes = self.inputs.axes
        outputs = axes.ordered(self.outputs)
        self.total += axes.turn(y.sum(axis=1).reshape(len(y), *outputs, self.rows))
        squares = np.einsum("cso,cso->co", y, y).reshape(len(y), -1, self.rows)
        self.energy += squares.sum(axis=1, dtype=np.float64)
        # its products with all pixels, added up at once along the longer axis
        for channels, products in pixel_products(y, x):
            wide = products.reshape(-1, *outputs, self.rows, *axes.shape)
            self._sums.add(channels, np.moveaxis(axes.turn(wide, 1, 4), 4, 2))

    def result(self) -> Moments:
        """Return the moments of the inputs, and of the target against the windows."""
        images, targets = self._waiting
        for both in zip(images.rest(), targets.rest(), strict=True):
            self._multiply(*both)
        inputs = self.inputs.result().inputs
        moments = TargetMoments.zeros(len(self.total), self.rows, inputs.columns)
        if self.mean is not None:
            mean, n = self.mean.astype(np.float64), self.inputs.samples * math.prod(self.outputs)
            # with the mean put back
            rest = self.total.sum(axis=(1, 2))
            moments.total += rest + n * mean
            moments.energy += self.energy + 2 * mean * rest + n * mean**2
            cross = self.inputs.axes.turn(self._cross(mean), 2)
            moments.cross += cross.reshape(moments.cross.shape)
        return Moments(inputs, moments)

    def _cross(self, mean: Wide) -> Wide:
        """Return sums of the target against what is read, (channels, rows, t, t)."""
        first, second = self.inputs.axes.first, self.inputs.axes.second
        assert self.inputs.mean is not None
        cross = np.zeros((len(self.total), self.rows, first.kernel_size, second.kernel_size))
        # along the shorter axis: each position at the outputs at which it reads a pixel
        for position in range(second.kernel_size):
            for output, place in second.alone(position):
                cross[..., position] += self._sums.sums[:, :, output, :, place].transpose(1, 2, 0)
        # y x = y' x' + mean x' + y mean, where ' is less the mean
        cross += mean[:, :, None, None] * np.einsum("cabab->cab", self.inputs.local()[0])[:, None]
        whole = self.total + self.inputs.samples * mean[:, None, None]
        inside = first.is_inside.astype(np.float64), second.is_inside.astype(np.float64)
        read = np.einsum("cabr,ha,wb->crhw", whole, *inside, optimize=True)
        return np.asarray(cross + self.inputs.mean.astype(np.float64)[:, None, None, None] * read)
