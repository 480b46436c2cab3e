"""Keeps solved weights within the range of the type that stores them."""

from __future__ import annotations

import dataclasses

import numpy as np

from onnx_lobs.arrays import BoolArray
from onnx_lobs.solvers import Status
from onnx_lobs.solvers.layerwise.task import LayerTask, Outcome, bias_changes


def within_range(task: LayerTask, outcome: Outcome) -> Outcome:
    """Give rows that the stored type cannot hold their dense values back, where they are kept.

    Inputs that nearly repeat each other let solved values grow without end, and half precision
    ends at 65,504. Such a row keeps its zeros; its other weights are those of the dense network,
    and its bias takes up the mean of what that changes.

    Parameters
    ----------
    task
        With ``largest``, the largest number that the type holds. Not modified.
    outcome
        What was solved. Not modified.

    Returns
    -------
    Outcome
        The same one where all values fit; else with the status ``OUT_OF_RANGE``, and the number of
        such rows in ``info``.
    """
    over: BoolArray = np.any(np.abs(outcome.weight) > task.largest, axis=2)
    if not over.any():
        return outcome
    dense = np.where(outcome.weight != 0, task.weight, 0.0)
    weight = np.where(over[:, :, None], dense, outcome.weight)
    anew = bias_changes(task, task.calibration.fit, weight)
    changes = tuple(
        None if old is None or new is None else np.where(over, new, old)
        for old, new in zip(outcome.bias_change, anew, strict=True)
    )
    return dataclasses.replace(
        outcome,
        weight=weight,
        bias_change=changes,
        status=Status.OUT_OF_RANGE,
        info={**outcome.info, "rows_out_of_range": int(over.sum())},
    )
