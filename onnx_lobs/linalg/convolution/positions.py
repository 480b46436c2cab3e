"""Chooses the outputs of a convolution that are read where not all are.

The same ones are read of several images. Positions at fixed distances from a random start copy in
runs, several times as fast as those drawn one by one, and lie further apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

COARSE = 16  # images of a piece have their grid in common, of every sixteenth output at the most
NARROW = 32  # columns: Grams of many groups with fewer are cheap, and reading is what they cost
FINE_STEP = 4  # up to so many pixels, a step may meet the same few columns of an image


@dataclass(frozen=True)
class Spread:
    """Every `step`-th of the positions of an image, `count` of them from `start`, in a circle.

    With a random start all positions are equally likely, and they are read as two runs.
    """

    start: int
    step: int
    count: int

    @classmethod
    def draw(cls, rng: np.random.Generator, spatial: tuple[int, ...], count: int) -> Spread:
        """Choose `count` positions of images of size `spatial`, far apart, at random."""
        size = math.prod(spatial)
        step = max(size // max(count, 1), 1)
        while step > FINE_STEP and math.gcd(step, spatial[-1]) > 1:
            step -= 1
        return cls(int(rng.integers(size)), step, count)

    def runs(self, size: int) -> Iterator[tuple[slice, slice]]:
        """Yield slices of the result, and of the `size` positions that belong there."""
        done, at = 0, self.start
        while done < self.count:
            n = min(self.count - done, -(-(size - at) // self.step))
            yield slice(done, done + n), slice(at, at + (n - 1) * self.step + 1, self.step)
            done, at = done + n, at + n * self.step - size


@dataclass(frozen=True)
class Grid:
    """Of every image the outputs at ``start, start + step, ...`` along each axis.

    Parameters
    ----------
    start, step
        One entry per spatial axis; a start is less than its step.
    """

    start: tuple[int, ...]
    step: tuple[int, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, step: tuple[int, ...]) -> Grid:
        """Choose a grid at random: every output is as likely as every other."""
        return cls(tuple(int(rng.integers(s)) for s in step), step)

    def sizes(self, outputs: tuple[int, ...]) -> tuple[int, ...]:
        """Return how many of the outputs there are along each axis."""
        axes = zip(outputs, self.start, self.step, strict=True)
        return tuple(len(range(start, size, step)) for size, start, step in axes)


def grid_step(sizes: tuple[int, ...], fraction: float) -> tuple[int, ...]:
    """Return the widest steps, much the same along all axes, that keep `fraction` of outputs."""
    left = 1 / fraction
    steps = []
    for axis, size in enumerate(sizes):
        root = left ** (1 / (len(sizes) - axis))
        steps.append(max(1, min(int(root + 1e-9), size)))
        left /= steps[-1]
    return tuple(steps)


def is_narrow(groups: int, columns: int) -> bool:
    """Whether the Grams of a layer are many small ones, as those of depthwise convolutions."""
    return groups > 1 and columns < NARROW


def wants_grid(groups: int, columns: int, fraction: float) -> bool:
    """Whether a `fraction` of the outputs is better read on a grid than drawn one by one.

    Not where they are few: the borders of an image would be read once in a while, by many images at
    once. That raised the error of depthwise layers on data not seen by up to 10 %.
    """
    return is_narrow(groups, columns) and fraction * COARSE > 1
