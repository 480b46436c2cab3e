"""Compares pruned networks with the dense one on samples that were set aside."""

from __future__ import annotations

from onnx_lobs.data.batches import Batches
from onnx_lobs.errors import LobsError
from onnx_lobs.evaluation.loss import LossSums, OutputLoss, each_loss
from onnx_lobs.evaluation.remembered import RememberedOutputs
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.staged import Runnable
from onnx_lobs.run.networks import Networks
from onnx_lobs.search.race import Scored, has_lost


class NothingToCompareError(LobsError):
    """No output of the network says what pruning did to it."""


class Judge:
    """Compares networks with the dense one on some samples, whose dense outputs are made once.

    Parameters
    ----------
    networks
        Of them the pruned ones are copies.
    batches
        The samples, picked from those of the run.
    dense
        What the dense network gives.
    """

    def __init__(self, networks: Networks, batches: Batches, dense: RememberedOutputs) -> None:
        self.networks, self.batches, self.dense = networks, batches, dense

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
        return self.score_outputs(self.networks.open_judged(model).in_front, best)

    def score_outputs(self, pruned: Runnable, best: Scored | None = None) -> Scored:
        """Do what :meth:`score` does with what gives the judged values of the batches in turn."""
        parts: list[LossSums] = []
        for part in each_loss(self.dense.on(self.batches), pruned, self.batches):
            parts.append(part)
            if best is not None and len(parts) < len(best.parts) and has_lost(parts, best):
                return Scored(tuple(parts), is_stopped=True)
        found = Scored(tuple(parts))
        if not found.loss.is_known:
            raise NothingToCompareError("the model has no output that two networks can compare")
        return found
