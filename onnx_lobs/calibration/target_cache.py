"""Caches the dense network's targets for runs that read the same batches again."""

from __future__ import annotations

from onnx_lobs.arrays import Array


class TargetCache:
    """Targets taken from the dense network, as far as they fit a budget.

    Parameters
    ----------
    budget
        Bytes; what does not fit is made again by every run.

    Notes
    -----
    Only for runs of one dense network, over the same batches in the same order, that read the same
    observations of them. The dense network then runs once for all of them.
    """

    def __init__(self, budget: int) -> None:
        self.budget = self._left = budget
        self._stored: dict[tuple[str, int], Array] = {}

    def find(self, name: str, batch: int) -> Array | None:
        """Return what is stored of a batch under a name, not to change, or None."""
        return self._stored.get((name, batch))

    def store(self, name: str, batch: int, data: Array) -> bool:
        """Store an array, which nobody may change any more, and say whether it fits."""
        fits = data.nbytes <= self._left
        if fits:
            self._left -= data.nbytes
            self._stored[name, batch] = data
        return fits

    def clear(self) -> None:
        """Forget everything."""
        self._stored.clear()
        self._left = self.budget
