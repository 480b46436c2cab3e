"""Defines what a method chooses, and the record that every solver returns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from onnx_lobs.arrays import BoolArray, FloatArray
from onnx_lobs.solvers.problem import Problem, error


class Status(Enum):
    """How a solve ended; `remedy` is what the user can do about it."""

    SOLVED = "solved"
    DAMPED = "damped"
    STALLED = "stalled"
    OUT_OF_RANGE = "out of range"

    @property
    def remedy(self) -> str:
        """Return one sentence, empty when there is nothing to do."""
        return _REMEDIES[self]


_REMEDIES = {
    Status.SOLVED: "",
    Status.DAMPED: "The Hessian was singular and got more damping than asked for: "
    "give more calibration samples, or a larger damp.",
    Status.STALLED: "The support was still changing at the last step: "
    "the zeros are exact and the weights refitted, but a lower error may exist.",
    Status.OUT_OF_RANGE: "Solved values of some rows do not fit the type that stores them: these "
    "rows have their zeros, and the dense values elsewhere; store the weight in float32, or give a "
    "larger damp.",
}


@dataclass(frozen=True)
class Selection:
    """What a method returns before the refit.

    Attributes
    ----------
    mask
        (groups, rows, d) bool, True = kept.
    weight
        The bare method's values, float64; None: W on the mask.
    status, info
        As in :class:`Solution`.
    """

    mask: BoolArray
    weight: FloatArray | None = None
    status: Status = Status.SOLVED
    info: Mapping[str, float | str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Solution:
    """A pruned layer.

    Attributes
    ----------
    weight
        (groups, rows, d) float64; exactly 0.0 where pruned.
    mask
        (groups, rows, d) bool, True = kept; exactly ``n_prune`` are False.
    error
        E(weight) without damping: mean squared change of the pre-activations per sample.
    relative_error
        `error` over the target's energy; 0.0 when both are 0.
    status
        How it ended, with a remedy.
    info
        Figures of the method: steps, penalty, damping ...
    """

    weight: FloatArray
    mask: BoolArray
    error: float
    relative_error: float
    status: Status
    info: Mapping[str, float | str | int]


def noted(problem: Problem, selection: Selection) -> Selection:
    """Return the selection with what the damping came to in its status and info."""
    damped = problem.damped
    is_raised = damped.raised > 0 and selection.status is Status.SOLVED
    info = {
        **selection.info,
        "damp": problem.damp + damped.raised,
        "dead_inputs": int(damped.dead.sum()),
    }
    status = Status.DAMPED if is_raised else selection.status
    return dataclasses.replace(selection, status=status, info=info)


def conclude(problem: Problem, selection: Selection, weight: FloatArray) -> Solution:
    """Return the Solution of `weight` on the selection's mask, with its error measured."""
    exact = np.where(selection.mask, weight, 0.0)
    selection = noted(problem, selection)
    value = error(problem, exact)
    energy = problem.energy
    relative = value / energy if energy > 0 else (0.0 if value <= 0 else math.inf)
    return Solution(exact, selection.mask, value, relative, selection.status, selection.info)
