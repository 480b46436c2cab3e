"""Remembers what the dense network gives, so that one run runs it once on each batch.

Trials compare with it on some batches, and so does the evaluation of the run on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from onnx_lobs.arrays import Array
from onnx_lobs.data.batches import Batches
from onnx_lobs.graph.run.staged import Runnable
from onnx_lobs.memory.store import bytes_of

Values = dict[str, Any]


class RememberedOutputs:
    """What a network that never changes gives on batches that are picked from the same ones.

    Parameters
    ----------
    open_network
        Loads the network; called when outputs are asked for that are not remembered.
    most_kept
        Bytes of outputs that are kept; more are computed anew whenever they are asked for.
    """

    def __init__(self, open_network: Callable[[], Runnable], most_kept: int) -> None:
        self.most_kept = most_kept
        self._open = open_network
        self._network: Runnable | None = None
        self._outputs: dict[int, Values] = {}
        self._bytes = 0

    def on(self, batches: Batches) -> Runnable:
        """Return what gives the outputs of these batches, which must be asked for in their order.

        The network is loaded for the first that is not remembered, and freed after the last.
        """
        return _InTurn(self, batches.first_places)

    def at(self, place: int, feeds: Mapping[str, Array]) -> Values:
        """Return the outputs of the batch at a place, whose data are `feeds`."""
        known = self._outputs.get(place)
        if known is not None:
            return known
        if self._network is None:
            self._network = self._open()
        found = self._network.run(feeds)
        size = sum(map(bytes_of, found.values()))
        if self._bytes + size <= self.most_kept:
            self._outputs[place] = found
            self._bytes += size
        return found

    def close(self) -> None:
        """Free the network, not what it gave."""
        self._network = None

    def keep_most(self, most_kept: int) -> None:
        """Keep no more than so many bytes from now on; forget all outputs if they are more."""
        self.most_kept = most_kept
        if self._bytes > most_kept:
            self._outputs.clear()
            self._bytes = 0


class _InTurn:
    """Gives the outputs of batches that are asked for in turn."""

    def __init__(self, remembered: RememberedOutputs, places: Sequence[int]) -> None:
        self._remembered, self._left = remembered, len(places)
        self._places: Iterator[int] = iter(places)

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> Values:
        """Return the outputs of the next batch, which is taken to be `feeds`."""
        found = self._remembered.at(next(self._places), feeds)
        self._left -= 1
        if not self._left:
            self._remembered.close()
        return found if outputs is None else {name: found[name] for name in outputs}
