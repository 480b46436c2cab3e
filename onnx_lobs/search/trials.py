"""Runs of the whole network, to see what a choice of zeros does to its output.

Such a run prunes a copy of the network layer by layer, each on the inputs that the pruned layers
before it give and towards the dense network, as a real run does, and its loss is that of the
outputs on other samples. A trial does so with a quick method on few samples. A final takes the
method of the run and most of the data: a quick method flatters allocations that need little repair,
and few samples those that overfit least.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from onnx_lobs.calibration.target_cache import TargetCache
from onnx_lobs.data.batches import Batches
from onnx_lobs.evaluation.loss import OutputLoss
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layers.write import round_weight, write_bias, write_weight
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.report.progress import Silent
from onnx_lobs.run.layer_step import make_task
from onnx_lobs.run.resume.state import Resume
from onnx_lobs.run.schedule import calibrations, is_sequential, is_staged
from onnx_lobs.run.slots import layer_key, wanted_sparsity
from onnx_lobs.run.workspace import Workspace
from onnx_lobs.search.trial_judge import KEPT_PART, Judge
from onnx_lobs.search.trial_samples import split, split_finally
from onnx_lobs.solvers.layerwise import (
    ErrorMeter,
    LayerTask,
    Outcome,
    solve_layer,
    solve_quickly,
)

SCORED_ALONE = 16  # samples that score one layer's pruning, at the least
POSITIONS, COLUMNS = 8, 1 << 13  # that a trial reads of a convolution; a run reads eight times more
REFIT_FLOPS = 1e9  # of a layer's refit that trials can afford
FINAL_EFFORT = {"fast": "fast", "default": "fast", "best": "default"}  # by the effort of the run


class Runs:
    """Runs on a fixed choice of samples, each with other zeros.

    Parameters
    ----------
    work
        What is run, on the samples that it is fitted to. Not modified.
    held
        The samples that score.
    solve
        Prunes one layer.
    scratch
        Where values go that do not fit memory.

    Notes
    -----
    Cost of one: a forward pass over the samples (the first: two), the Grams, the solver, and one
    forward pass over the samples that score. What the dense network does is kept, in memory, as far
    as it fits KEPT_PART of the activations' share.
    """

    def __init__(
        self,
        work: Workspace,
        held: Batches,
        solve: Callable[[LayerTask, Layer], Outcome],
        scratch: Scratch,
    ) -> None:
        self.solve, self.scratch = solve, scratch
        self.work = dataclasses.replace(
            work,
            config=dataclasses.replace(work.config, cache=None),
            result=work.dense,
            kept=TargetCache(work.room.activations // KEPT_PART),
        )
        self.n_run = 0
        self._held = Judge(work, held)

    def loss(self, zeros: Mapping[str, int]) -> OutputLoss:
        """Return what the outputs lose by these zeros, on the samples that score."""
        work = dataclasses.replace(
            self.work, budgets=dict(zeros), pruned=self.work.dense.copied(), warnings=[], skips=[]
        )
        for layer, calibration in layer_moments(work, self.scratch):
            task = make_task(work, layer, calibration)
            if task.n_prune:
                _write(work.pruned, layer, self.solve(task, layer))
        self.n_run += 1
        return self._held.loss(work.pruned)

    def release(self) -> None:
        """Free what is kept of the dense network; the next run makes it again."""
        if self.work.kept is not None:
            self.work.kept.clear()
        self._held.release()


class Trials(Runs):
    """Quick runs on few samples and few observations; d³ flops per layer.

    Parameters
    ----------
    work
        The run they are for. Not modified.
    samples
        How many to prune on, at most half of the data.
    scored
        How many others score, at most half too.
    scratch
        As for :class:`Runs`.
    """

    def __init__(self, work: Workspace, samples: int, scored: int, scratch: Scratch) -> None:
        fit, held = split(work.batches, samples, scored)
        positions = min(work.config.positions or POSITIONS, POSITIONS)
        config = dataclasses.replace(work.config, positions=positions)
        part = dataclasses.replace(work, config=config, batches=fit, least_observations=COLUMNS)
        self.refits = {layer_key(layer): _refits(work, layer) for layer in work.layers}
        super().__init__(part, held, self._solve, scratch)
        sizes = np.cumsum(held.sizes)
        few = held.pick(range(1 + int(np.searchsorted(sizes[:-1], SCORED_ALONE))))
        self._few = Judge(work, few)

    def release(self) -> None:
        """Free what is kept of the dense network; the next run makes it again."""
        super().release()
        self._few.release()

    def error_of_one(self, layer: Layer, task: LayerTask) -> tuple[float, float]:
        """Prune one layer only; return the layer's relative error and the network's."""
        outcome = self._solve(task, layer)
        model = self.work.dense.copied()
        _write(model, layer, outcome)
        own = ErrorMeter(task).relative_error(outcome.weight, outcome.bias_change)
        whole = self._few.loss(model).change
        assert whole is not None  # or the judge had raised
        return own, whole

    def _solve(self, task: LayerTask, layer: Layer) -> Outcome:
        return solve_quickly(task, refit=self.refits[layer_key(layer)])


def finals(work: Workspace, scratch: Scratch) -> Runs:
    """Return runs with the method of `work` on most of its data, with less effort."""
    fit, held = split_finally(work.batches)
    config = dataclasses.replace(work.config, effort=FINAL_EFFORT[work.config.effort])
    part = dataclasses.replace(work, config=config, batches=fit)
    return Runs(part, held, lambda task, layer: solve_layer(task), scratch)


def layer_moments(work: Workspace, scratch: Scratch) -> Iterator[tuple[Layer, Calibration]]:
    """Yield every layer that data reach, with its moments; in which order: `calibrations`."""
    resume = Resume(work, sequential=is_sequential(work), staged=is_staged(work))
    for group, calibration in calibrations(work, resume, scratch, Silent()):
        for layer, part in group.parts(calibration):
            if part is not None and any(moments.inputs.count for moments in part.fit):
                yield layer, part


def _refits(work: Workspace, layer: Layer) -> bool:
    """Whether trials refit a layer: where that is cheap at the sparsity of the run.

    It must not depend on the zeros of a trial, or refitted layers would seem to need fewer.
    """
    share = wanted_sparsity(work.config, work.pattern)
    layout = layer.layout
    fewer = min(share, 1 - share) * layout.columns
    return layout.groups * layout.rows * fewer**3 / 3 <= REFIT_FLOPS


def _write(model: Model, layer: Layer, outcome: Outcome) -> None:
    write_weight(model, layer, round_weight(layer, outcome.weight))
    for use, change in zip(layer.uses, outcome.bias_change, strict=True):
        if change is not None:
            write_bias(model, use, layer, change)
