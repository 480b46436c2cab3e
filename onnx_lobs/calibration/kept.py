"""What the dense network gives in its stages, kept for runs that read the same batches again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from onnx_lobs.memory.store import bytes_of

Array = NDArray[Any]
Made = dict[str, Array]


class KeptStages:
    """The values that stages of the dense network gave, as far as they fit a budget.

    Parameters
    ----------
    budget
        Bytes; what does not fit is made again by every run.

    Notes
    -----
    Only for runs of one dense network, over the same batches in the same order, whose stages end
    at the same nodes. Every second run of a network is then the pruned one's.
    """

    def __init__(self, budget: int) -> None:
        self.budget = self._left = budget
        self._kept: dict[tuple[int, int], Made] = {}

    @property
    def n_kept(self) -> int:
        """How many pairs of stage and batch are kept."""
        return len(self._kept)

    def outputs(self, top: int, batch: int, make: Callable[[], Made]) -> Made:
        """Return what the stage that ends before node `top` gives on batch `batch`, not to change.

        Parameters
        ----------
        make
            Runs the stage.
        """
        key = top, batch
        if key in self._kept:
            return self._kept[key]
        made = make()
        size = sum(map(bytes_of, made.values()))
        if 0 < size <= self._left:
            self._left -= size
            self._kept[key] = made
        return made

    def clear(self) -> None:
        """Forget all values."""
        self._kept.clear()
        self._left = self.budget
