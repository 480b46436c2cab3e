"""Adds up the moments of observations batch by batch: the contract, and its plainest form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from onnx_lobs.arrays import Array
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Moments


@dataclass(frozen=True)
class TargetObservations:
    """What a layer's outputs aim at, at its observations: taken from the dense network.

    ``data`` is what the layer reads there, z (groups, n, columns), so that W z is the target; or,
    if it ``is_output``, the target itself (groups, n, rows), without the bias.
    """

    data: Array
    is_output: bool

    @property
    def count(self) -> int:
        """Number of observations."""
        return int(self.data.shape[1])

    def part(self, chosen: slice) -> TargetObservations:
        """Return the target at some of the observations."""
        return TargetObservations(self.data[:, chosen], self.is_output)


class Accumulator(Protocol):
    """Sums that grow batch by batch: of chosen observations, or of whole images."""

    def add(self, observations: Array, target: TargetObservations | None = None) -> None:
        """Add observations and their target; None: what the layer's weight makes of them."""

    def result(self) -> Moments:
        """Return the moments of all that was added; nothing is added afterwards."""


class ObservationSums(Accumulator, Protocol):
    """Sums of observations (groups, n, columns), which other sums can be added to."""

    def add(
        self,
        observations: Array,
        target: TargetObservations | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        """Add observations and their target.

        Not modified, unless the caller lets it `overwrite` the observations, which saves a copy.
        """

    def add_moments(self, moments: Moments) -> None:
        """Add what other sums gave; without targets they are the weight's own."""

    def merge(self, other: Any) -> None:
        """Add what sums of the same class have; those are not to be used any more."""

    def settle(self) -> None:
        """Finish what is under way, which leaves :meth:`merge` less to do."""


class InputSums:
    """Adds up inputs alone: the target is what the layer's own weight makes of them.

    Parameters
    ----------
    groups, columns
        The shape of the Gram.
    """

    def __init__(self, groups: int, columns: int) -> None:
        self.inputs = Gram(groups, columns)

    def add(
        self,
        observations: Array,
        target: TargetObservations | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        """Add observations (groups, n, columns); see :class:`ObservationSums`.

        Raises
        ------
        ValueError
            When there is a target.
        """
        refuse_target(target)
        self.inputs.update(observations, overwrite=overwrite)

    def add_moments(self, moments: Moments) -> None:
        """Add the inputs that other sums gave."""
        self.inputs.merge(moments.inputs)

    def merge(self, other: InputSums) -> None:
        """Add what `other` has added up; it is not to be used any more."""
        if other.inputs.count:
            self.inputs.merge(other.inputs)

    def settle(self) -> None:
        """Add what waits to the sums in float64."""
        if self.inputs.count:
            self.inputs.settle()

    def result(self) -> Moments:
        """Return the moments, without targets."""
        return Moments(self.inputs)


def refuse_target(target: TargetObservations | None) -> None:
    """Raise ValueError where sums of inputs alone are given a target, which would be lost."""
    if target is not None:
        raise ValueError(
            f"sums of inputs alone are given a target at {target.count} observations; "
            "use sums that take one"
        )
