"""Adds up mean and variance per channel of one value in two networks, and maps one to the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array, FloatArray

LARGEST_GAIN = 4.0  # a channel that lost more than 15/16 of its variance is not mended by a gain
DEAD = 1e-12  # of the mean variance: a channel that is constant but for rounding


@dataclass
class ChannelMoments:
    """Streaming mean and variance of every channel, in float64.

    ``scatter`` is the sum of squares about the mean. Batches are merged by their means, so that
    the rounding is that of the variances, however large the means are.
    """

    mean: FloatArray
    scatter: FloatArray
    count: int = 0

    @classmethod
    def zeros(cls, channels: int) -> ChannelMoments:
        """Return empty moments."""
        return cls(np.zeros(channels), np.zeros(channels))

    @property
    def variance(self) -> FloatArray:
        """Variance per channel, divided by the count; zeros before the first update."""
        return np.asarray(self.scatter / max(self.count, 1))

    def update(self, x: Array) -> None:
        """Add the observations `x` (channels, n). Not modified."""
        n = x.shape[1]
        if n == 0:
            return
        mean = x.mean(axis=1, dtype=np.float64)
        rest = x - mean[:, None]
        step = mean - self.mean
        both = self.count + n
        self.scatter += np.einsum("cn,cn->c", rest, rest) + step**2 * (self.count * n / both)
        self.mean += step * (n / both)
        self.count = both


@dataclass(frozen=True)
class Affine:
    """A map of every channel: gain * x + shift."""

    gain: FloatArray
    shift: FloatArray


@dataclass(frozen=True)
class MomentPair:
    """The moments of one value in the dense and in the pruned network, on the same data."""

    dense: ChannelMoments
    pruned: ChannelMoments

    @classmethod
    def zeros(cls, channels: int) -> MomentPair:
        """Return empty moments."""
        return cls(ChannelMoments.zeros(channels), ChannelMoments.zeros(channels))

    @property
    def is_finite(self) -> bool:
        """Whether no sum is NaN or infinite."""
        sums = (self.dense.mean, self.dense.scatter, self.pruned.mean, self.pruned.scatter)
        return all(bool(np.isfinite(array).all()) for array in sums)

    def correction(self, *, variance: bool) -> Affine:
        """Return the map that gives the pruned value the dense one's mean and, if so, variance.

        Channels that are constant in either network, but for rounding, keep gain 1; a gain is
        at most LARGEST_GAIN and at least its inverse.
        """
        gain = np.ones_like(self.dense.mean)
        wanted, found = self.dense.variance, self.pruned.variance
        least = DEAD * max(float(wanted.mean()), np.finfo(np.float64).tiny)
        alive = (wanted > least) & (found > least)
        if variance:
            ratio = np.sqrt(wanted[alive] / found[alive])
            gain[alive] = np.clip(ratio, 1 / LARGEST_GAIN, LARGEST_GAIN)
        return Affine(gain, self.dense.mean - gain * self.pruned.mean)

    def distance(self, affine: Affine | None = None) -> float:
        """Return how far the moments are apart, once the pruned value is mapped by `affine`.

        The squared difference of means plus that of standard deviations, over the dense
        variance, summed over the channels that vary: for normal values the least mean squared
        change that such moments allow (the 2-Wasserstein distance).
        """
        gain, shift = (1.0, 0.0) if affine is None else (affine.gain, affine.shift)
        wanted = self.dense.variance
        alive = wanted > DEAD * float(wanted.mean())
        mean = gain * self.pruned.mean + shift - self.dense.mean
        spread = gain * np.sqrt(self.pruned.variance) - np.sqrt(wanted)
        return float(((mean**2 + spread**2)[alive] / wanted[alive]).sum())
