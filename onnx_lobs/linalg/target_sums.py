"""Adds up inputs with a target y = W z, where z are the dense network's inputs, the cheapest way.

With n observations, m rows and d inputs, multiplying W and z, then y and x, takes 4 n m d flops,
and half as many where y is known. The sums of z x^T and of z z^T take 3 n d^2, and W is multiplied
with them once, so that wide layers, or several that share their inputs, cost as much as narrow
ones. Where z is x nothing else is left to do.
"""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.linalg.accumulator import TargetObservations
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Moments, TargetMoments, add_cross

WIDE = 0.75  # rows over columns, from which the inputs' sums are cheaper
MOST_COLUMNS = 2048  # of which they are kept: two matrices of d x d


class TargetSums:
    """Adds up one use's inputs x together with its target.

    Parameters
    ----------
    weight
        W (groups, rows, columns). Not modified.

    Attributes
    ----------
    inputs, targets
        Where everything is added; complete after :meth:`result`.
    """

    def __init__(self, weight: FloatArray) -> None:
        groups, rows, columns = weight.shape
        self.weight = weight
        self.inputs = Gram(groups, columns)
        self.targets = TargetMoments.zeros(groups, rows, columns)
        self._is_own = True
        is_wide = rows > WIDE * columns and columns <= MOST_COLUMNS
        self._dense = Gram(groups, columns) if is_wide else None
        self._cross = np.zeros((groups, columns, columns)) if is_wide else None

    def add(
        self,
        observations: Array,
        target: TargetObservations | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        """Add observations (groups, n, columns) and their target; None: W x.

        Not modified, unless the caller lets it `overwrite` the observations, which saves a copy.
        """
        # as long as all targets are W x, one product with the weight at the end makes them
        if self._is_own:
            if target is None:
                self.inputs.update(observations, overwrite=overwrite)
                return
            self._add_own()
        # without a target the observations are read again below, so they must stay
        centred = self.inputs.update(observations, overwrite=overwrite and target is not None)
        if target is not None and target.is_output:
            self.targets.update(target.data, centred)
            return
        # sums of z against x, or W z itself, whichever takes fewer flops
        z = observations if target is None else target.data
        if self._dense is not None and self._cross is not None:
            add_cross(self._cross, self._dense.update(z), centred)
        else:
            weight = self.weight.astype(np.result_type(z.dtype, np.float32))
            self.targets.update(z @ weight.swapaxes(1, 2), centred)

    def add_moments(self, moments: Moments) -> None:
        """Add what other sums gave; without targets they are W x."""
        if moments.targets is not None and self._is_own:
            self._add_own()
        self.inputs.merge(moments.inputs)
        if moments.targets is not None:
            self.targets.merge(moments.targets)
        elif not self._is_own:
            self.targets.add_linear(self.weight, moments.inputs.matrix, moments.inputs.total)

    def merge(self, other: TargetSums) -> None:
        """Add what `other`, of the same weight, has added up; it is not to be used any more."""
        if self._is_own != other._is_own:
            for one in (self, other):
                if one._is_own:
                    one._add_own()
        if self._dense is not None and other._dense is not None and other._dense.count:
            self._dense.merge(other._dense)
        if self._cross is not None and other._cross is not None:
            self._cross += other._cross
        if other.inputs.count:
            self.inputs.merge(other.inputs)
        self.targets.merge(other.targets)

    def settle(self) -> None:
        """Add what waits to the sums in float64."""
        if self.inputs.count:
            self.inputs.settle()

    def result(self) -> Moments:
        """Multiply what is left with the weight, and return the moments."""
        if self._is_own:
            self._add_own()
        dense, cross = self._dense, self._cross
        if dense is not None and cross is not None and dense.count:
            self.targets.add_linear(self.weight, dense.matrix, dense.total, cross)
        self._dense = self._cross = None
        return Moments(self.inputs, self.targets)

    def _add_own(self) -> None:
        """Add the targets of all observations so far, which were W x."""
        self._is_own = False
        if self.inputs.count:
            self.targets.add_linear(self.weight, self.inputs.matrix, self.inputs.total)
