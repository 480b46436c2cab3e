"""Quick runs of the whole network, to see what a choice of zeros does to its output.

A trial prunes a copy of the network layer by layer, each on the inputs that the pruned layers
before it give and towards the dense network, as a real run does, but with a quick method on few
samples; its error is that of the outputs on other samples.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from onnx_lobs.budgets.slots import layer_key, wanted_sparsity
from onnx_lobs.calibration.kept import KeptStages
from onnx_lobs.data.batches import Batches
from onnx_lobs.errors import LobsError
from onnx_lobs.evaluation.output import output_error
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.staged import Runnable, open_session
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layerwise import LayerTask, Outcome, relative_error, solve_quickly
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import bytes_of
from onnx_lobs.phases import Silent
from onnx_lobs.resume.state import Resume
from onnx_lobs.rewrite import round_weight, write_bias, write_weight
from onnx_lobs.schedule import calibrations, is_sequential, is_staged
from onnx_lobs.steps import make_task
from onnx_lobs.workspace import Workspace

LEAST_SAMPLES = 32  # of a trial
LEAST_SCORED, MOST_SCORED = 64, 512  # samples that score a trial
SCORED_ALONE = 16  # samples that score one layer's pruning, at the least
POSITIONS, COLUMNS = 8, 1 << 13  # that a trial reads of a convolution; a run reads eight times more
COLUMNS_PER_INPUT = 2  # of each layer in a trial, if there are so many
REFIT_FLOPS = 1e9  # of a layer's refit that trials can afford
KEPT_PART = 4  # of the activations' memory, for outputs and for stages that are kept
MOST_WEIGHTS = 0.6  # share of the weights, in layers that get so many
NEARLY_ALL, MORE_SAMPLES = 0.95, 128  # the same for up to so many samples


class NothingToCompareError(LobsError):
    """No output of the network says what pruning did to it."""


class Trials:
    """Trial runs on a fixed choice of samples.

    Parameters
    ----------
    work
        The run they are for. Not modified.
    samples
        How many to prune on; `split` says how many score. At most half of the data each.
    scratch
        Where values go that do not fit memory.

    Notes
    -----
    Cost of one: a forward pass over some of the samples (the first trial: two) and Grams of a few
    columns of data, d³ per layer, and one forward pass over the samples that score. What the
    dense network does is kept, in memory, as far as it fits KEPT_PART of the activations' share.
    """

    def __init__(self, work: Workspace, samples: int, scratch: Scratch) -> None:
        self.scratch = scratch
        fit, held = split(work.batches, samples)
        sizes = np.cumsum(held.sizes)
        few = held.pick(range(1 + int(np.searchsorted(sizes[:-1], SCORED_ALONE))))
        self._held, self._few = _Judge(work, held), _Judge(work, few)
        positions = min(work.config.positions or POSITIONS, POSITIONS)
        config = dataclasses.replace(work.config, cache=None, positions=positions)
        self.work = dataclasses.replace(
            work,
            config=config,
            batches=fit,
            result=work.dense,
            least_columns=COLUMNS,
            kept=KeptStages(work.room.activations // KEPT_PART),
        )
        self.refits = {layer_key(layer): _refits(work, layer) for layer in work.layers}
        self.n_run = 0

    def error(self, zeros: Mapping[str, int]) -> float:
        """Return the relative output error on the samples that are kept to score."""
        work = dataclasses.replace(
            self.work, budgets=dict(zeros), pruned=_copy(self.work.dense), warnings=[], skips=[]
        )
        for layer, calibration in layer_moments(work, self.scratch):
            task = make_task(work, layer, calibration)
            if task.n_prune:
                _write(work.pruned, layer, self._solve(layer, task))
        self.n_run += 1
        return self._held.error(work.pruned)

    def release(self) -> None:
        """Free what is kept of the dense network; the next trial makes it again."""
        if self.work.kept is not None:
            self.work.kept.clear()
        for judge in (self._held, self._few):
            judge.release()

    def error_of_one(self, layer: Layer, task: LayerTask) -> tuple[float, float]:
        """Prune one layer only; return the layer's relative error and the network's."""
        outcome = self._solve(layer, task)
        model = _copy(self.work.dense)
        _write(model, layer, outcome)
        own = relative_error(task, outcome.weight, outcome.bias_change)
        return own, self._few.error(model)

    def _solve(self, layer: Layer, task: LayerTask) -> Outcome:
        return solve_quickly(task, refit=self.refits[layer_key(layer)])


class _Judge:
    """Compares networks with the dense one on some samples, whose dense outputs are made once.

    They are kept where they take little of the activations' memory, and else computed anew.
    """

    def __init__(self, work: Workspace, batches: Batches) -> None:
        self.work, self.batches = work, batches
        self._dense: Runnable | None = None

    def error(self, model: Model) -> float:
        """Return the relative error of a network's outputs.

        Raises
        ------
        NothingToCompareError
            When they are neither floats nor choices, as the maps of a ZipMap.
        """
        if self._dense is None:
            self._dense = self._open_dense()
        error = output_error(self._dense, self._open(model), self.batches)
        if error is None:
            raise NothingToCompareError("the model has no output that two networks can compare")
        return error

    def release(self) -> None:
        """Free the dense outputs."""
        self._dense = None

    def _open_dense(self) -> Runnable:
        dense = self._open(self.work.dense)
        kept: list[dict[str, Any]] = []
        left = self.work.room.activations // KEPT_PART
        for feeds in self.batches:
            kept.append(dense.run(feeds))
            left -= sum(map(bytes_of, kept[-1].values()))
            if left < 0:
                return dense
        return _Recorded(kept)

    def _open(self, model: Model) -> Runnable:
        return open_session(model, provider=self.work.provider, limit=self.work.room.weights)


class _Recorded:
    """The outputs of a network on batches that are asked for in turn, again and again."""

    def __init__(self, outputs: Sequence[dict[str, Any]]) -> None:
        self._turns = itertools.cycle(outputs)

    def run(self, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the outputs of the next batch, which is taken to be `feeds`."""
        found = next(self._turns)
        return found if outputs is None else {name: found[name] for name in outputs}


def layer_moments(work: Workspace, scratch: Scratch) -> Iterator[tuple[Layer, Calibration]]:
    """Yield every layer that data reach, in graph order, with its moments."""
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


def _copy(model: Model) -> Model:
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    return Model(proto, model.folder)


def samples_needed(work: Workspace, columns: Mapping[str, float]) -> int:
    """Return the samples that give the layers enough columns of data, `columns` of each sample.

    That is COLUMNS_PER_INPUT times the inputs, for the layers that hold most of the weights; a
    classifier behind convolutions, with one column a sample, does not make all trials long. It may
    make them MORE_SAMPLES long: with 32 the trials of a network whose classifier repairs much of
    what convolutions lose ranked its allocations the wrong way round.
    """
    sizes = np.array([layer.size for layer in work.layers], dtype=np.float64)
    wanted = np.array(
        [
            COLUMNS_PER_INPUT * layer.layout.columns / max(columns[layer_key(layer)], 1e-9)
            for layer in work.layers
        ]
    )
    order = np.argsort(wanted, kind="stable")
    below = np.cumsum(sizes[order]) / sizes.sum()
    enough, nearly = (
        math.ceil(wanted[order][np.searchsorted(below, share)])
        for share in (MOST_WEIGHTS, NEARLY_ALL)
    )
    return int(max(LEAST_SAMPLES, enough, min(MORE_SAMPLES, nearly)))


def split(batches: Batches, samples: int) -> tuple[Batches, Batches]:
    """Return batches of about `samples` samples to fit on, and others to score on.

    There are as many of the latter, but LEAST_SCORED to MOST_SCORED; each is at most half of the
    data. With one batch only, both are that batch.
    """
    if len(batches) < 2:
        return batches, batches
    per_batch, half = batches.n_samples / len(batches), len(batches) // 2
    scored = min(max(samples, LEAST_SCORED), MOST_SCORED)
    counts = [min(max(math.ceil(n / per_batch), 1), half) for n in (samples, scored)]
    every = np.arange(len(batches))
    fit = np.linspace(0, len(batches) - 1, counts[0]).round().astype(int)
    others = np.setdiff1d(every, fit)
    rest = others[np.linspace(0, len(others) - 1, counts[1]).round().astype(int)]
    return batches.pick(fit), batches.pick(rest)
