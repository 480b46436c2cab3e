"""The moments of a target y = W z, where z are the dense network's inputs, by the cheapest way.

With n observations, m rows and d inputs, multiplying W and z, then y and x, takes 4 n m d flops,
and half as many where y is known. The sums of z x^T and of z z^T take 3 n d^2, and W is multiplied
with them once, so that wide layers, or several that share their inputs, cost as much as narrow
ones. Where z is x nothing else is left to do.
"""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Moments, TargetMoments, add_cross

WIDE = 0.75  # rows over columns, from which the inputs' sums are cheaper
MOST_COLUMNS = 2048  # of which they are kept: two matrices of d x d


class Towards:
    """Adds up one use's inputs together with its target.

    Parameters
    ----------
    weight
        W (groups, rows, columns). Not modified.
    moments
        Where everything is added, with targets; complete after :meth:`finish`.
    """

    def __init__(self, weight: FloatArray, moments: Moments) -> None:
        assert moments.targets is not None
        self.weight, self.inputs, self.targets = weight, moments.inputs, moments.targets
        self._is_own = True
        groups, rows, columns = weight.shape
        is_wide = rows > WIDE * columns and columns <= MOST_COLUMNS
        self._dense = Gram(groups, columns) if is_wide else None
        self._cross = np.zeros((groups, columns, columns)) if is_wide else None

    def add(self, x: Array, z: Array | None = None) -> None:
        """Add observations (groups, n, columns); z None: those of x. Not modified."""
        if self._is_own:
            if z is None:
                self.inputs.update(x)
                return
            self._add_own()
        centred = self.inputs.update(x)
        z = x if z is None else z
        if self._dense is not None and self._cross is not None:
            add_cross(self._cross, self._dense.update(z), centred)
        else:
            weight = self.weight.astype(np.result_type(z.dtype, np.float32))
            self.targets.update(z @ weight.swapaxes(1, 2), centred)

    def add_towards_outputs(self, x: Array, y: Array) -> None:
        """Add observations together with W z itself, y (groups, n, rows). Not modified."""
        if self._is_own:
            self._add_own()
        self.targets.update(y, self.inputs.update(x))

    def merge(self, other: Towards) -> None:
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

    def add_sums(self, matrix: FloatArray, total: FloatArray, count: int) -> None:
        """Add sums over observations, which are their own targets: x x^T, x, their number."""
        self.inputs.add(matrix, total, count)
        if not self._is_own:
            self.targets.add_linear(self.weight, matrix, total)

    def add_target_sums(
        self, matrix: FloatArray, total: FloatArray, count: int, targets: TargetMoments
    ) -> None:
        """Add sums over observations, and those of their targets."""
        if self._is_own:
            self._add_own()
        self.inputs.add(matrix, total, count)
        self.targets.merge(targets)

    def finish(self) -> None:
        """Add what is still to be multiplied with the weight."""
        if self._is_own:
            self._add_own()
        dense, cross = self._dense, self._cross
        if dense is not None and cross is not None and dense.count:
            self.targets.add_linear(self.weight, dense.matrix, dense.total, cross)
        self._dense = self._cross = None

    def _add_own(self) -> None:
        """Add the targets of all columns so far, which were those of x."""
        self._is_own = False
        if self.inputs.count:
            self.targets.add_linear(self.weight, self.inputs.matrix, self.inputs.total)
