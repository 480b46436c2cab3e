"""Measures the errors of a layer's weights against what they aim at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnx_lobs.arrays import FloatArray
from onnx_lobs.solvers.layerwise.sums import excess, mean_change
from onnx_lobs.solvers.layerwise.task import LayerTask

STEADY = 1e-12  # of an output's mean square: a variance that is only rounding


class ErrorMeter:
    """Measures the errors of a layer's weights on all batches, whose sums are made once.

    Parameters
    ----------
    task
        The layer. Not modified.
    """

    def __init__(self, task: LayerTask) -> None:
        self.task = task
        self._moments = task.total_moments()
        self._sums = task.sums_of(self._moments)

    def relative_error(self, weight: FloatArray, bias_change: Sequence[FloatArray | None]) -> float:
        """Return the mean squared change of the pre-activations over the dense ones' energy.

        Parameters
        ----------
        weight
            V (groups, rows, columns), the values as stored.
        bias_change
            Per use: what was added to its bias, or None.

        Returns
        -------
        float
            sum ||y - V x - c||² / sum ||y||², the latter about the mean of y where the bias of
            the use may change, unless y does not vary. 0.0 when there is no energy and no error,
            infinity when there is an error only.
        """
        task, sums = self.task, self._sums
        squared, energy = excess(weight, sums), sums.energy
        # of a use whose bias may change, what the bias does not take up
        steady = 0.0
        for moments, centre, change in zip(self._moments, task.centred, bias_change, strict=True):
            if centre and moments.inputs.count:
                left = mean_change(moments, task.weight, weight)
                left = left if change is None else left - change
                squared += moments.inputs.count * float((left**2).sum())
                mean = mean_change(moments, task.weight, np.zeros_like(weight))
                steady += moments.inputs.count * float((mean**2).sum())
        # outputs that do not vary: relative to their mean
        if energy <= STEADY * steady:
            energy = steady
        if energy <= 0:
            return 0.0 if squared <= 0 else float("inf")
        return squared / energy
