"""Races a trial against the best one so far, so that one that cannot win stops early.

A trial is scored batch by batch, on the batches that the best one was scored on, in the same order.
It stops where it has lost in one of two ways. It is *beaten* when its loss would be no lower even
if no further batch changed an output at all: that is certain. It is *behind* when its batches have
larger errors than the same batches of the best one by many standard errors of the paired
differences, and no fewer changed choices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.evaluation.loss import LossSums, OutputLoss

LEAST_BATCHES = 4  # fewer give no standard error to speak of
BEHIND = 4.0  # standard errors: of a few batches, looked at after each of them


@dataclass(frozen=True)
class Scored:
    """A trial's score: what its batches add to the loss, all of them unless it was stopped."""

    parts: tuple[LossSums, ...]
    is_stopped: bool = False

    @property
    def loss(self) -> OutputLoss:
        """The loss on the batches that were run."""
        return sum(self.parts, LossSums()).loss()


def has_lost(parts: Sequence[LossSums], best: Scored) -> bool:
    """Return whether a trial with these first batches need not be scored any further.

    Parameters
    ----------
    parts
        What its batches so far add to its loss.
    best
        The best trial, scored on all batches, which begin with those of `parts`.
    """
    return is_beaten(parts, best) or is_behind(parts, best)


def is_beaten(parts: Sequence[LossSums], best: Scored) -> bool:
    """Return whether the loss is no lower than the best even if no further output changes."""
    rest = (
        LossSums(0.0, part.energy, part.is_float, 0, part.positions)
        for part in best.parts[len(parts) :]
    )
    least = sum(rest, sum(parts, LossSums())).loss()
    return least.is_known and least.value >= best.loss.value


def is_behind(parts: Sequence[LossSums], best: Scored) -> bool:
    """Return whether the batches are worse than those of the best by BEHIND standard errors."""
    if len(parts) < LEAST_BATCHES:
        return False
    pairs = list(zip(parts, best.parts, strict=False))
    if sum(one.changed - other.changed for one, other in pairs) < 0:
        return False
    gaps = np.array([one.change - other.change for one, other in pairs])
    return bool(gaps.mean() > BEHIND * gaps.std(ddof=1) / math.sqrt(len(gaps)))
