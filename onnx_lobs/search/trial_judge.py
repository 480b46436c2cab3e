"""Compares pruned networks with the dense one on samples that were set aside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onnx_lobs.data.batches import Batches
from onnx_lobs.errors import LobsError
from onnx_lobs.evaluation.loss import LossSums, OutputLoss, each_loss
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.staged import Runnable
from onnx_lobs.memory.store import bytes_of
from onnx_lobs.run.networks import Networks
from onnx_lobs.search.race import Scored, has_lost


class NothingToCompareError(LobsError):
    """No output of the network says what pruning did to it."""


class Judge:
    """Compares networks with the dense one on some samples, whose dense outputs are made once.

    Parameters
    ----------
    networks
        Their dense one is compared with.
    batches
        The samples.
    most_kept
        Bytes of dense outputs that are kept; more are computed anew for every comparison.
    """

    def __init__(self, networks: Networks, batches: Batches, most_kept: int) -> None:
        self.networks, self.batches, self.most_kept = networks, batches, most_kept
        self._open: Callable[[], Runnable] | None = None

    def loss(self, model: Model) -> OutputLoss:
        """Return what a network's outputs lost; raises as :meth:`score`."""
        return self.score(model).loss

    def score(self, model: Model, best: Scored | None = None) -> Scored:
        """Return what a network's outputs lost, batch by batch.

        Parameters
        ----------
        best
            The score to be beaten: the rest is left out once it cannot be. None: all is run.

        Raises
        ------
        NothingToCompareError
            When they are neither floats nor choices, as the maps of a ZipMap.
        """
        if self._open is None:
            self._open = self._dense_outputs()
        dense = self._open()
        parts: list[LossSums] = []
        pruned = self.networks.open_judged(model).in_front
        for part in each_loss(dense, pruned, self.batches):
            parts.append(part)
            if best is not None and len(parts) < len(best.parts) and has_lost(parts, best):
                return Scored(tuple(parts), is_stopped=True)
        found = Scored(tuple(parts))
        if not found.loss.is_known:
            raise NothingToCompareError("the model has no output that two networks can compare")
        return found

    def release(self) -> None:
        """Free the dense outputs."""
        self._open = None

    def _dense_outputs(self) -> Callable[[], Runnable]:
        """Return what gives the dense outputs from the first batch on, each time it is called."""
        dense = self.networks.open_judged(self.networks.dense).in_front
        kept: list[dict[str, Any]] = []
        left = self.most_kept
        for feeds in self.batches:
            kept.append(dense.run(feeds))
            left -= sum(map(bytes_of, kept[-1].values()))
            if left < 0:
                return lambda: dense
        return lambda: _Recorded(kept)


class _Recorded:
    """The outputs of a network on batches that are asked for in turn."""

    def __init__(self, outputs: Sequence[dict[str, Any]]) -> None:
        self._turns = iter(outputs)

    def run(self, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the outputs of the next batch, which is taken to be `feeds`."""
        found = next(self._turns)
        return found if outputs is None else {name: found[name] for name in outputs}
