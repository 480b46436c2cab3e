"""Prunes on while a network is retrained: a few weights at a time, by the gradients' squares.

The loss rises by about ``½ h w²`` when a weight goes (LeCun, Denker, Solla 1989). Near a minimum of
a likelihood its curvature h is the mean square of the gradient (Theis et al. 2018, arXiv
1801.05787), and gradients are there for every step. What stays is retrained between two thinnings,
so it takes over from what went, and the next choice is made on a network that has settled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.errors import ConfigError
from onnx_lobs.run.retraining.parameters import MovingTensor

PART = 0.6  # of all steps, over which weights go; the rest is for those that stay
TIMES = 60  # thinnings at least, and fewer than twice as many, where there are so many steps
MEMORY = 0.98  # of the mean squares, a step
FLOOR = 0.1  # of a tensor's mean curvature: weights hardly seen so far do not all go first
PRUNED = 0.01  # zeros of a layer that pruning took part in; others are left as they are


class Thinning:
    """Chooses the weights that go, step by step, until a network has as many zeros as asked for.

    Parameters
    ----------
    weights
        Those of all layers that can move. Those with zeros are thinned, or all where none has any.
    moved
        Names of the tensors that move.
    sparsity
        Fraction of zeros of the layers that are thinned, in the end.
    steps
        Of the whole training.

    Raises
    ------
    ConfigError
        When the weights have as many zeros already, or too few of them move.

    Notes
    -----
    Shares fall by equal factors from thinning to thinning. All layers are compared with each other.
    Memory: 8 bytes for each weight.
    """

    def __init__(
        self, weights: Sequence[MovingTensor], moved: set[str], sparsity: float, steps: int
    ) -> None:
        touched = [w for w in weights if w.n_kept <= (1 - PRUNED) * w.kept.size] or list(weights)
        free = [w for w in touched if w.name in moved]
        size, kept = sum(w.kept.size for w in touched), sum(w.n_kept for w in touched)
        self._least = round((1 - sparsity) * size) - sum(
            w.n_kept for w in touched if w.name not in moved
        )
        self._most = sum(w.n_kept for w in free)
        if self._least >= self._most:
            raise ConfigError(
                f"sparsity {sparsity:g} is to be reached in retraining, and {1 - kept / size:.4g} "
                "of the weights are zero already; name more, or leave it out"
            )
        if self._least < len(free):
            raise ConfigError(
                f"sparsity {sparsity:g} cannot be reached: {self._most:,} of {size:,} weights "
                "move; name less, give more samples, or take --move all"
            )
        self.until = max(1, round(PART * steps))
        self._every = max(1, self.until // TIMES)
        self._kept = {w.name: w.kept for w in free}
        self._squares: dict[str, FloatArray] = {
            w.name: np.zeros(w.kept.shape, np.float64) for w in free
        }

    def see(self, gradients: Mapping[str, Array]) -> None:
        """Take the gradients of a step into the mean squares."""
        for name, square in self._squares.items():
            gradient = gradients[name].astype(np.float64)
            self._squares[name] = MEMORY * square + (1 - MEMORY) * gradient**2

    def is_due(self, step: int) -> bool:
        """Whether weights go behind this step, of which the first is 1."""
        return step <= self.until and (step % self._every == 0 or step == self.until)

    def thin(self, step: int, values: Mapping[str, Array]) -> None:
        """Choose what stays behind a step: as many weights as the schedule says, or fewer."""
        part = min(1.0, step / self.until)
        n_kept = round(self._most * (self._least / self._most) ** part)
        names = list(self._kept)
        flat = np.concatenate([self._losses(name, values[name]).reshape(-1) for name in names])
        # of equal losses the first stay
        stays = np.zeros(flat.size, bool)
        stays[np.argsort(-flat, kind="stable")[:n_kept]] = True
        stays &= flat >= 0
        ends = np.cumsum([self._kept[name].size for name in names])[:-1]
        for name, mask in zip(names, np.split(stays, ends), strict=True):
            self._kept[name] = mask.reshape(self._kept[name].shape)

    def applied(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Return values, or gradients, that are zero where a weight went."""
        return {n: v * self._kept[n] if n in self._kept else v for n, v in values.items()}

    def _losses(self, name: str, values: Array) -> FloatArray:
        """Return what the loss of each weight costs, without the half; -1 where it went before."""
        kept, square = self._kept[name], self._squares[name]
        mean = float(square[kept].mean()) if kept.any() else 0.0
        curvature = square + max(FLOOR * mean, np.finfo(np.float64).tiny)
        losses: FloatArray = np.where(kept, curvature * np.square(values, dtype=np.float64), -1.0)
        return losses


def thinned(
    tensors: Sequence[MovingTensor], values: Mapping[str, Array]
) -> tuple[MovingTensor, ...]:
    """Return tensors whose weights that are zero among `values` are no longer kept."""
    return tuple(
        dataclasses.replace(tensor, kept=tensor.kept & (values[tensor.name] != 0))
        if tensor.layer is not None and tensor.name in values
        else tensor
        for tensor in tensors
    )
