"""Retrains opened networks: finds what is learnt and what may move, and takes the steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnx_lobs.data.batches import Batches
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.model import Model
from onnx_lobs.options.retraining import RetrainOptions
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.retraining.aims import MOST_KEPT, Targets
from onnx_lobs.run.retraining.moving import ChosenTensors, choose_tensors
from onnx_lobs.run.retraining.network import TrainedNetwork
from onnx_lobs.run.retraining.opened import OpenedNetworks, chosen_aim, find_aims, samples_of_step
from onnx_lobs.run.retraining.parameters import MovingTensor, write_values
from onnx_lobs.run.retraining.thinning import Thinning, thinned
from onnx_lobs.run.retraining.training import Course, Trained, TrainingSet, train

Remember = Callable[[Sequence[MovingTensor], Callable[[], Trained]], Trained]


@dataclass(frozen=True, eq=False)
class RetrainedNetwork:
    """What a retraining moved, and what came of it.

    Parameters
    ----------
    weights
        Those of layers that can move, whether they did or not.
    moved
        Those that did; after them come biases and scales.
    done
        The best values, and the losses on the way.
    towards, move
        What was learnt, and what might move.
    stopped
        Operators without a rule, at which the gradient stops, in words.
    """

    weights: tuple[MovingTensor, ...]
    moved: tuple[MovingTensor, ...]
    done: Trained
    towards: str
    move: str
    stopped: tuple[str, ...]

    def write(self, model: Model) -> None:
        """Put the best values into a model, in the types in which it stores them."""
        if self.done.best:
            write_values(model, self.done.values)


def retrain_networks(
    networks: OpenedNetworks,
    samples: tuple[Batches, Batches],
    how: RetrainOptions,
    seed: int,
    progress: Progress,
    *,
    most_kept: int = MOST_KEPT,
    gathers: bool = True,
    remember: Remember = lambda tensors, make: make(),
) -> RetrainedNetwork:
    """Retrain the pruned network; nothing is written.

    Parameters
    ----------
    networks
        Both, and how they run.
    samples
        Batches to learn from, and those held out.
    how
        The options.
    seed
        Of the order of the batches.
    progress
        Told of every step.
    most_kept
        Of the dense network's outputs that are kept for the next time.
    gathers
        Whether a step takes several batches where they are smaller than it wants; else one.
    remember
        Given what moves and what trains it; returns what that gives, or gave before.

    Raises
    ------
    ConfigError, DataError
        As :func:`onnx_lobs.run.retraining.opened.find_aims`; also when the zeros that `how` asks
        for are there already, or cannot be reached by what moves.
    ModelError
        When nothing can move.
    """
    fitted = samples[0]
    aims, session, values = find_aims(networks, fitted, how.towards)
    chosen = choose_tensors(networks.pruned, how.move, fitted, values.shapes)
    tensors = chosen.tensors
    if not tensors:
        more = (
            "no weight of a layer is stored in floating point; retrain the model before they are "
            "rounded"
            if chosen.move == "all"
            else "name more with --move all"
        )
        raise ModelError(f"nothing in the model can move ({chosen.move}); {more}")
    # train
    network = TrainedNetwork(networks.pruned, aims, tensors, networks.provider)
    sets = [TrainingSet(some, Targets(aims, some, session, most_kept)) for some in samples]
    gather = math.ceil(samples_of_step(fitted.n_samples) / max(fitted.sizes)) if gathers else 1
    course = Course(how.steps, how.rate, how.optimiser, seed, gather, how.decay)
    thinning = _thinning(chosen, how)
    done = remember(tensors, lambda: train(network, sets[0], sets[1], course, progress, thinning))
    stopped = network.shaped(fitted.load(0)).stopped
    kept = done.values if thinning is not None else {}
    return RetrainedNetwork(
        thinned(chosen.weights, kept),
        thinned(tensors, kept),
        done,
        chosen_aim(networks, fitted, how.towards),
        chosen.move,
        tuple(f"the gradient stops at {stop}" for stop in stopped),
    )


def _thinning(chosen: ChosenTensors, how: RetrainOptions) -> Thinning | None:
    if how.sparsity is None:
        return None
    moved = {tensor.name for tensor in chosen.tensors}
    return Thinning(chosen.weights, moved, how.sparsity, how.steps)
