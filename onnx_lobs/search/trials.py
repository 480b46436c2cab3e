"""Prunes copies of the whole network, to see what a choice of zeros does to its output.

Such a run prunes a copy of the network layer by layer, each on the inputs that the pruned layers
before it give and towards the dense network, as a real run does, and its loss is that of the
outputs on other samples. A trial does so with a quick method on few samples. A final takes the
method of the run and most of the data: a quick method flatters allocations that need little repair,
and few samples those that overfit least.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from onnx_lobs.calibration.target_cache import TargetCache
from onnx_lobs.data.batches import Batches
from onnx_lobs.evaluation.loss import OutputLoss
from onnx_lobs.evaluation.remembered import RememberedOutputs
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.layer import Layer
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import Store
from onnx_lobs.report.progress import Silent
from onnx_lobs.run.layer_step import make_task
from onnx_lobs.run.log import Log
from onnx_lobs.run.modes import is_sequential
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.resume.known import Known
from onnx_lobs.run.schedule import calibrations
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.slots import layer_key
from onnx_lobs.run.zeros import Zeros
from onnx_lobs.search.alone import PrunedLayer, can_be_cut, each_alone
from onnx_lobs.search.race import Scored
from onnx_lobs.search.trial_judge import Judge
from onnx_lobs.search.trial_samples import MOST_FITTED, split, split_finally
from onnx_lobs.solvers.layerwise import (
    ErrorMeter,
    LayerTask,
    Outcome,
    solve_layer,
    solve_quickly,
    within_range,
)

SCORED_ALONE = 16  # samples that score one layer's pruning, at the least
# that a trial reads of a convolution; a run reads eight times more
POSITIONS, LEAST_OBSERVATIONS = 8, 1 << 13
KEPT_PART = 4  # of the activations' memory, for outputs and for observations that are kept
LITTLE = 32  # the same for outputs that are kept while layers are solved
REFIT_FLOPS = 1e9  # of a layer's refit that trials can afford
FINAL_EFFORT = {"fast": "fast", "default": "fast", "best": "default"}  # by the effort of the run


class Runs:
    """Runs on a fixed choice of samples, each with other zeros.

    Parameters
    ----------
    setup
        What such a run goes by, on the samples that it is fitted to.
    networks
        Those of the run that it is for. Not modified.
    held
        The samples that score.
    solve
        Prunes one layer.
    scratch
        Where values go that do not fit memory.
    dense
        What the dense network gives on the batches of the run.

    Notes
    -----
    Cost of one: a forward pass over the samples (the first: two), the Grams, the solver, and one
    forward pass over the samples that score. What the dense network does is kept, in memory, as far
    as it fits KEPT_PART of the activations' share.
    """

    def __init__(
        self,
        setup: Setup,
        networks: Networks,
        held: Batches,
        solve: Callable[[LayerTask, Layer], Outcome],
        scratch: Scratch,
        dense: RememberedOutputs,
    ) -> None:
        self.setup, self.networks = setup, networks.only_dense()
        self.solve, self.scratch = solve, scratch
        self.dense = dense
        self._targets = TargetCache(setup.memory.activations // KEPT_PART)
        self._held = Judge(networks, held, dense)

    def loss(self, zeros: Zeros) -> OutputLoss:
        """Return what the outputs lose by these zeros, on the samples that score."""
        return self.score(zeros).loss

    def score(self, zeros: Zeros, best: Scored | None = None) -> Scored:
        """Return what the outputs lose by these zeros, batch by batch.

        Parameters
        ----------
        best
            The score of the best run so far: this one stops once it cannot be better. None: it
            goes to its end.
        """
        self.dense.keep_most(self.setup.memory.activations // KEPT_PART)
        return self._held.score(self.pruned(zeros), best)

    def pruned(self, zeros: Zeros) -> Model:
        """Return a copy of the dense network with these zeros."""
        networks = self.networks.on_trial()
        for layer, calibration in layer_moments(self.setup, networks, self.scratch, self._targets):
            n_prune = zeros[layer_key(layer)]
            if n_prune:
                task = make_task(self.setup, networks, layer, calibration, n_prune)
                if not task.is_sparse_already:
                    outcome = within_range(task, self.solve(task, layer))
                    PrunedLayer.of(layer, outcome).write(networks.pruned)
        return networks.pruned

    def loss_of(self, model: Model) -> OutputLoss:
        """Return what the outputs of a network lose, on the samples that score."""
        return self._held.loss(model)

    def release(self) -> None:
        """Free what is kept of the dense network, but little; the next run makes it again."""
        self._targets.clear()
        self.dense.keep_most(self.setup.memory.activations // LITTLE)


class Trials(Runs):
    """Quick runs on few samples and few observations; d³ flops per layer.

    Parameters
    ----------
    setup, networks
        Of the run they are for. Not modified.
    samples
        How many to prune on, at most half of the data.
    scored
        How many others score, at most half too.
    scratch, dense
        As for :class:`Runs`.
    """

    def __init__(
        self,
        setup: Setup,
        networks: Networks,
        samples: int,
        scored: int,
        scratch: Scratch,
        dense: RememberedOutputs,
    ) -> None:
        fit, held = split(setup.batches, samples, scored)
        positions = min(setup.config.positions or POSITIONS, POSITIONS)
        part = dataclasses.replace(
            setup.with_options(positions=positions),
            batches=fit,
            least_observations=LEAST_OBSERVATIONS,
        )
        self.refits = {layer_key(x): _refits(x, setup.sparsity) for x in setup.layers}
        super().__init__(part, networks, held, self._solve, scratch, dense)
        sizes = np.cumsum(held.sizes)
        few = held.pick(range(1 + int(np.searchsorted(sizes[:-1], SCORED_ALONE))))
        self._few = Judge(networks, few, dense)

    def prune_alone(self, layer: Layer, task: LayerTask) -> tuple[PrunedLayer, float]:
        """Prune one layer only; return it and its relative error."""
        outcome = within_range(task, self._solve(task, layer))
        own = ErrorMeter(task).relative_error(outcome.weight, outcome.bias_change)
        return PrunedLayer.of(layer, outcome), own

    def errors_alone(self, pruned: Sequence[PrunedLayer]) -> Iterator[tuple[PrunedLayer, float]]:
        """Yield every layer with the network's relative error if no other one is pruned.

        Where stages are run anyway, each network runs from its layer on only.
        """
        if is_sequential(self.setup.config) and can_be_cut(self.networks):
            store = Store(self.setup.memory.activations, self.scratch)
            for each, outputs in each_alone(self.networks, self._few.batches, pruned, store):
                yield each, _change(self._few.score_outputs(outputs).loss)
            return
        for each in pruned:
            model = self.networks.dense.copied()
            each.write(model)
            yield each, _change(self._few.loss(model))

    def _solve(self, task: LayerTask, layer: Layer) -> Outcome:
        return solve_quickly(task, refit=self.refits[layer_key(layer)])


def make_finals(
    setup: Setup,
    networks: Networks,
    scratch: Scratch,
    dense: RememberedOutputs,
    share: float = MOST_FITTED,
) -> Runs:
    """Return runs with the method of a run on a share of its data, with less effort."""
    fit, held = split_finally(setup.batches, share)
    lesser = setup.with_options(effort=FINAL_EFFORT[setup.config.effort])
    part = dataclasses.replace(lesser, batches=fit)
    return Runs(part, networks, held, lambda task, layer: solve_layer(task), scratch, dense)


def remember_dense(setup: Setup, networks: Networks) -> RememberedOutputs:
    """Return what the network before pruning gives on the batches of a run, before activations."""
    return RememberedOutputs(
        lambda: networks.open_judged(networks.reference).in_front,
        setup.memory.activations // KEPT_PART,
    )


def layer_moments(
    setup: Setup, networks: Networks, scratch: Scratch, targets: TargetCache | None = None
) -> Iterator[tuple[Layer, Calibration]]:
    """Yield every layer that data reach, with its moments; in which order: `calibrations`."""
    found = calibrations(setup, networks, Known.nothing(), scratch, Silent(), Log(), targets)
    for shared, calibration in found:
        for layer, part in shared.parts(calibration):
            if part is not None and any(moments.inputs.count for moments in part.fit):
                yield layer, part


def _refits(layer: Layer, sparsity: float) -> bool:
    """Whether trials refit a layer: where that is cheap at the sparsity of the run.

    It must not depend on the zeros of a trial, or refitted layers would seem to need fewer.
    """
    layout = layer.layout
    fewer = min(sparsity, 1 - sparsity) * layout.columns
    return layout.groups * layout.rows * fewer**3 / 3 <= REFIT_FLOPS


def _change(loss: OutputLoss) -> float:
    """Return the error of the outputs of one layer's pruning."""
    assert loss.change is not None  # or the judge had raised
    return loss.change
