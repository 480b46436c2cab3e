"""Compares pruned networks with the dense one on samples that were set aside."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from onnx_lobs.data.batches import Batches
from onnx_lobs.errors import LobsError
from onnx_lobs.evaluation.loss import OutputLoss, output_loss
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.staged import Runnable
from onnx_lobs.memory.store import bytes_of
from onnx_lobs.run.networks import Networks


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
        self._dense: Runnable | None = None

    def loss(self, model: Model) -> OutputLoss:
        """Return what a network's outputs lost.

        Raises
        ------
        NothingToCompareError
            When they are neither floats nor choices, as the maps of a ZipMap.
        """
        if self._dense is None:
            self._dense = self._open_dense()
        loss = output_loss(self._dense, self.networks.open_judged(model).in_front, self.batches)
        if not loss.is_known:
            raise NothingToCompareError("the model has no output that two networks can compare")
        return loss

    def release(self) -> None:
        """Free the dense outputs."""
        self._dense = None

    def _open_dense(self) -> Runnable:
        dense = self.networks.open_judged(self.networks.dense).in_front
        kept: list[dict[str, Any]] = []
        left = self.most_kept
        for feeds in self.batches:
            kept.append(dense.run(feeds))
            left -= sum(map(bytes_of, kept[-1].values()))
            if left < 0:
                return dense
        return _Recorded(kept)


class _Recorded:
    """The outputs of a network on batches that are asked for in turn, again and again."""

    def __init__(self, outputs: Sequence[dict[str, Any]]) -> None:
        self._turns = itertools.cycle(outputs)

    def run(self, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the outputs of the next batch, which is taken to be `feeds`."""
        found = next(self._turns)
        return found if outputs is None else {name: found[name] for name in outputs}
