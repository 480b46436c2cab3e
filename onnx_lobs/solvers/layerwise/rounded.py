"""Rounds a solved layer to multiples of scales, by the same moments that its weights came from."""

from __future__ import annotations

import dataclasses

from onnx_lobs.linalg.factor import damp_gram
from onnx_lobs.solvers import Status
from onnx_lobs.solvers.layerwise.pose import usual_damp
from onnx_lobs.solvers.layerwise.prior import drawn_sums
from onnx_lobs.solvers.layerwise.task import LayerTask, Outcome, bias_changes
from onnx_lobs.solvers.rounding import round_rows


def rounded(task: LayerTask, outcome: Outcome) -> Outcome:
    """Return a solved layer with weights that are multiples of its scales.

    Parameters
    ----------
    task
        The layer; it says which rows share a scale. Not modified.
    outcome
        What it was solved to. Its zeros stay zero; its biases take up the means again, if they may.

    Raises
    ------
    NotPositiveDefiniteError
        When the moments cannot be damped.

    Notes
    -----
    Cost: the moments once more, and :func:`~onnx_lobs.solvers.rounding.round_rows`.
    """
    assert task.scale_of is not None
    fitted = task.calibration.fit
    sums = drawn_sums(task, fitted)
    damp = usual_damp(task, sums) if outcome.damp is None else outcome.damp
    damped = damp_gram(sums.take_hessian(), damp)
    damped.forget_factor()
    found = round_rows(outcome.weight, damped.matrix, task.scale_of)
    changes = outcome.bias_change
    if any(change is not None for change in changes) and len(changes) == len(task.centred):
        moved = bias_changes(task, fitted, found.weight)
        changes = tuple(
            None if before is None else after for before, after in zip(changes, moved, strict=True)
        )
    return dataclasses.replace(
        outcome, weight=found.weight, bias_change=changes, scales=found.scales
    )


def rounded_only(task: LayerTask) -> Outcome:
    """Return a layer whose zeros stay as they are, rounded; its bias takes up the mean error."""
    changes = bias_changes(task, task.calibration.fit, task.weight)
    before = Outcome(task.weight, changes, Status.SOLVED, None, None, None, {})
    return rounded(task, before)
