"""Chooses the observations that calibration reads: all, or some positions of convolutions."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator

import numpy as np

from onnx_lobs.calibration.options import CalibrationOptions
from onnx_lobs.calibration.shared_inputs import SharedInput
from onnx_lobs.layers.layer import Use
from onnx_lobs.linalg.convolution.costs import WholeSums, cheapest
from onnx_lobs.linalg.convolution.positions import Grid, Spread, grid_step, wants_grid
from onnx_lobs.linalg.convolution.unfold import Chosen

CHUNK_BYTES = 1 << 24
# so many groups, or more, of a convolution read this part of them: on 16 depthwise layers pruned to
# 50 and 80 % that raised the error on data not seen by 0.1 % in the mean and by 0.6 % at most. With
# 16, 0.7 % and 2.3 %; and trials, which read few observations anyway, were misled by it: on the
# PP-OCR classifier at 50 % the output error on data not seen rose from .005 to .019
MANY_GROUPS = 8


class ObservationChoice:
    """Chooses what is read of each batch: the same in every run, and for all networks.

    Parameters
    ----------
    shared
        What is calibrated.
    options
        Their seed, positions, least number of observations and number of batches.

    Attributes
    ----------
    budget
        Observations that a convolution reads of each batch.
    """

    def __init__(self, shared: SharedInput, options: CalibrationOptions) -> None:
        self.shared, self.n_batches, self.seed = shared, options.n_batches, options.seed
        self.held_every = options.held_every
        layout = shared.layers[0].layout
        least = options.least_observations / min(layout.groups, MANY_GROUPS)
        positions = options.positions
        wanted = math.inf if positions is None else max(positions * layout.columns, least)
        self.budget = wanted / options.n_batches

    def pieces(
        self, use: Use, samples: int, sizes: tuple[int, ...], index: int
    ) -> Iterator[tuple[slice, Chosen]]:
        """Yield slices of the samples of batch `index`, each with the positions of it to read.

        A convolution that is unfolded reads no more observations than its share of `positions`,
        drawn at random: neighbouring windows say nearly the same.

        Parameters
        ----------
        sizes
            Of the convolution's output, along the spatial axes; () for a product.
        """
        if use.unfold is None:
            yield slice(None), None
            return
        columns = self.shared.layers[0].layout.columns
        per_sample = math.prod(sizes)
        fraction = min(1.0, self.budget / max(samples * per_sample, 1))
        # one stream of random numbers per batch and use, whatever else is read
        rng = np.random.default_rng([self.seed, index, zlib.crc32(use.output.encode())])
        # as many samples at once as fit a chunk when they are unfolded
        width = 4 * columns * use.groups * fraction * max(per_sample, 1)
        step = int(max(1, min(samples, CHUNK_BYTES // max(width, 1))))
        for begin in range(0, samples, step):
            piece = slice(begin, begin + step)
            count = per_sample * (min(begin + step, samples) - begin)
            yield piece, _choose(rng, use, columns, sizes, fraction, count)

    def whole_sums(self, use: Use, shape: tuple[int, ...]) -> WholeSums | None:
        """Return what reads all positions of a convolution for less than some unfolded cost.

        Parameters
        ----------
        shape
            Of a batch of its inputs (samples, channels, *spatial).
        """
        if use.unfold is None or use.scale != 1:
            return None
        n = None if math.isinf(self.budget) else math.ceil(self.budget)
        return cheapest(shape, use.unfold, use.groups, n)


def _choose(
    rng: np.random.Generator,
    use: Use,
    columns: int,
    sizes: tuple[int, ...],
    fraction: float,
    count: int,
) -> Chosen:
    """Return a `fraction` of the `count` outputs of some samples of a convolution, or all."""
    geometry = use.unfold
    if fraction == 1 or geometry is None:
        return None
    if geometry.is_pointwise:
        return Spread.draw(rng, sizes, max(1, round(fraction * math.prod(sizes))))
    if wants_grid(use.groups, columns, fraction):
        return Grid.draw(rng, grid_step(sizes, fraction))
    size = max(1, round(fraction * count))
    return np.sort(rng.choice(count, size=size, replace=False, shuffle=False))
