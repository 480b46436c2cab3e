"""Moves values against their gradients: Adam and SGD, with one schedule of the rate.

Steps are relative to the size of what they move: a rate of 0.01 moves a weight by about one per
cent of the root mean square of its tensor. Tensors of a network differ in size by orders of
magnitude, once normalisations are folded into them, and one rate then suits them all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from onnx_lobs.arrays import Array

WARM = 0.05  # of all steps, over which the rate rises
LEAST_SIZE = 1e-3  # of a tensor, for one that is all but zero
# of a tensor's gradients: what is far below their size makes small steps, not whole ones
FLOOR = 0.01


def rate_at(step: int, steps: int, full: int = 0) -> float:
    """Return the part of the full rate at a step: a short rise, then half a cosine down to 0.

    Between them it stays full up to the step `full`.

    >>> [round(rate_at(step, 100), 2) for step in (0, 4, 5, 50, 99)]
    [0.2, 1.0, 1.0, 0.54, 0.0]
    >>> [round(rate_at(step, 100, 60), 2) for step in (0, 4, 60, 80, 99)]
    [0.2, 1.0, 1.0, 0.5, 0.0]
    """
    warm = max(1, round(WARM * steps))
    if step < warm:
        return (step + 1) / warm
    start = max(warm, full)
    return 0.5 * (1 + math.cos(math.pi * max(0, step - start) / max(1, steps - start)))


def size_of(values: Array) -> float:
    """Return the root mean square of a tensor's values that are not zero, LEAST_SIZE at least."""
    kept = values[values != 0]
    return (
        max(LEAST_SIZE, float(np.sqrt(np.mean(np.square(kept, dtype=np.float64)))))
        if kept.size
        else LEAST_SIZE
    )


@dataclass
class Adam:
    """Moves by the mean gradient over the root of the mean square (arXiv 1412.6980)."""

    first: float = 0.9
    second: float = 0.99  # of few steps, a longer memory would keep the first ones
    _means: dict[str, Array] = field(default_factory=dict)
    _squares: dict[str, Array] = field(default_factory=dict)
    _count: int = 0

    def moves(self, gradients: Mapping[str, Array]) -> dict[str, Array]:
        """Return what to move each value by, for a rate of 1 and a size of 1."""
        self._count += 1
        found = {}
        for name, gradient in gradients.items():
            gradient = gradient.astype(np.float64)  # squares of 1e-25 are zero in float32
            mean = self._means.get(name, np.zeros_like(gradient))
            square = self._squares.get(name, np.zeros_like(gradient))
            mean = self.first * mean + (1 - self.first) * gradient
            square = self.second * square + (1 - self.second) * gradient**2
            self._means[name], self._squares[name] = mean, square
            # means began at zero
            mean = mean / (1 - self.first**self._count)
            root = np.sqrt(square / (1 - self.second**self._count))
            floor = FLOOR * math.sqrt(np.mean(root**2))
            found[name] = -mean / (root + max(floor, np.finfo(np.float64).tiny))
        return found


@dataclass
class MomentumDescent:
    """Moves by gradients, averaged with those before, over the root mean square of the tensor's.

    That makes steps of SGD as large as those of Adam, whatever the loss is scaled by; inside one
    tensor they stay in proportion to the gradients.
    """

    momentum: float = 0.9
    _means: dict[str, Array] = field(default_factory=dict)
    _squares: dict[str, float] = field(default_factory=dict)
    _count: int = 0

    def moves(self, gradients: Mapping[str, Array]) -> dict[str, Array]:
        """Return what to move each value by, for a rate of 1 and a size of 1."""
        self._count += 1
        weight = 1 - self.momentum**self._count
        found = {}
        for name, gradient in gradients.items():
            mean = self._means.get(name, np.zeros_like(gradient))
            mean = self.momentum * mean + (1 - self.momentum) * gradient
            alive = gradient[gradient != 0]
            now = float(np.mean(np.square(alive, dtype=np.float64))) if alive.size else 0.0
            square = self.momentum * self._squares.get(name, 0.0) + (1 - self.momentum) * now
            self._means[name], self._squares[name] = mean, square
            found[name] = -(mean / weight) / max(math.sqrt(square / weight), 1e-30)
        return found


OPTIMISERS = {"adam": Adam, "sgd": MomentumDescent}
