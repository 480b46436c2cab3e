"""One figure of what pruning did to a network's outputs, by which networks are compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.evaluation.samples import choices, pair_up
from onnx_lobs.graph.model import is_float
from onnx_lobs.graph.run.staged import Runnable


@dataclass(frozen=True)
class OutputLoss:
    """How far the outputs of a pruned network are from the dense one's.

    Parameters
    ----------
    error
        Sum of squared changes over the sum of squares, of all floating outputs; None if there is
        none, or nothing but zeros that changed.
    changed, positions
        Positions at which an output chooses differently
        (:func:`onnx_lobs.evaluation.samples.choices`), and all positions at which it chooses.
    """

    error: float | None
    changed: int = 0
    positions: int = 0

    @property
    def change(self) -> float | None:
        """The error, or where there is none the share of changed choices, or None."""
        if self.error is not None or not self.positions:
            return self.error
        return self.changed / self.positions

    @property
    def is_known(self) -> bool:
        """Whether there is anything to go by."""
        return self.error is not None or self.positions > 0

    @property
    def value(self) -> float:
        """The geometric mean of the error and of the share of changed choices.

        An error of a softmax does not tell which choices it turns, and choices of few samples are
        too coarse a measure alone. One more position is counted, with a change, so that choices
        which all stay leave the decision to the error. Where there is only one of the two, it is
        the value.

        Raises
        ------
        ValueError
            When there is neither.
        """
        share = (self.changed + 1) / (self.positions + 1)
        if self.error is not None:
            return math.sqrt(self.error * share) if self.positions else self.error
        if not self.positions:
            raise ValueError("a loss without an error and without choices has no value")
        return share


def is_clearly_lower(one: OutputLoss, other: OutputLoss, share: float) -> bool:
    """Return whether a loss is at most a share of another, with no more changed choices."""
    return one.value <= share * other.value and one.changed <= other.changed


@dataclass(frozen=True)
class LossSums:
    """What one batch, or several, add to an :class:`OutputLoss`.

    ``change`` and ``energy`` are the sums of squares of its error; ``is_float`` says whether there
    is a floating output at all.
    """

    change: float = 0.0
    energy: float = 0.0
    is_float: bool = False
    changed: int = 0
    positions: int = 0

    def __add__(self, other: LossSums) -> LossSums:
        return LossSums(
            self.change + other.change,
            self.energy + other.energy,
            self.is_float or other.is_float,
            self.changed + other.changed,
            self.positions + other.positions,
        )

    def loss(self) -> OutputLoss:
        """Return the loss that these sums are."""
        error = _ratio(self.change, self.energy) if self.is_float else None
        return OutputLoss(error, self.changed, self.positions)


def output_loss(
    dense: Runnable, pruned: Runnable, batches: Iterable[Mapping[str, Array]]
) -> OutputLoss:
    """Compare a pruned network with the dense one on some batches.

    An output that cannot be compared, because its size changed or one network gives NaN or
    infinity, counts as if it were zero, and as choosing differently everywhere.

    Notes
    -----
    Cost: one forward pass of each model.
    """
    return sum(each_loss(dense, pruned, batches), LossSums()).loss()


def each_loss(
    dense: Runnable, pruned: Runnable, batches: Iterable[Mapping[str, Array]]
) -> Iterator[LossSums]:
    """Yield what every batch adds to :func:`output_loss`, as soon as it has been run."""
    for feeds in batches:
        yield _batch_sums(dense.run(feeds), pruned.run(feeds))


def _batch_sums(before: Mapping[str, Any], after: Mapping[str, Any]) -> LossSums:
    """Return the sums of one batch from the outputs of the dense and the pruned network."""
    total = LossSums()
    for name, value in before.items():
        if isinstance(value, np.ndarray) and is_float(value.dtype):
            total += LossSums(*_squares(value, after[name]), is_float=True)
        one, other = choices(value), choices(after[name])
        if one is not None:
            alike = other is not None and one.shape == other.shape
            changed = int((one != other).sum()) if alike else one.size
            total += LossSums(changed=changed, positions=one.size)
    return total


def _squares(before: Array, after: Array) -> tuple[float, float]:
    """Return the squared change of an output and its square."""
    if before.shape != after.shape:
        energy = float(np.square(pair_up(before, before).before).sum())
        return energy, energy
    pair = pair_up(before, after)
    energy = float(np.square(pair.before).sum())
    return energy if pair.clash.any() else float(np.square(pair.after - pair.before).sum()), energy


def _ratio(change: float, energy: float) -> float | None:
    """Return the relative error; None for a change of nothing but zeros."""
    return change / energy if energy else 0.0 if change == 0 else None
