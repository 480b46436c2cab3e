"""Opens what a retraining works on: two networks, samples to learn from, samples held out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnx_lobs.arrays import Array
from onnx_lobs.calibration.held_out import fitted_and_held
from onnx_lobs.data.batches import Batches
from onnx_lobs.data.fixed_inside import cut_as_fixed_inside
from onnx_lobs.data.inputs import input_specs
from onnx_lobs.data.kinds.request import LabelNeed
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.evaluation.builtin import class_count
from onnx_lobs.evaluation.final_activation import (
    SOFTMAXES,
    FinalActivation,
    common_finals,
    final_activations,
)
from onnx_lobs.evaluation.one_hot import with_class_labels
from onnx_lobs.graph.derivatives.observed import ObservedValues, observe
from onnx_lobs.graph.files.load import LoadedModel
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.graph.run.session import Session, find_provider
from onnx_lobs.memory.shares import share_out
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.calibration_data import open_calibration
from onnx_lobs.run.retraining.aims import (
    AUTO,
    CLASSES,
    LABELS,
    OUTPUTS,
    Aim,
    class_aim,
    output_aims,
)

SMALLEST_BATCH, LARGEST_BATCH, BATCHES = 8, 512, 64
Finals = tuple[FinalActivation, ...]


@dataclass(frozen=True, eq=False)
class OpenedNetworks:
    """The networks of a retraining, in the form in which they run.

    Parameters
    ----------
    pruned, dense
        Execution copies; `dense` is None where it was not given.
    finals
        Final activations of the dense network, and of the pruned one.
    provider
        Full name of an execution provider.
    notes
        What the reader had better know of how they run.
    """

    pruned: Model
    dense: Model | None
    finals: tuple[Finals, Finals]
    provider: str
    notes: tuple[str, ...]


def open_networks(
    pruned: LoadedModel, dense: LoadedModel | None, config: PruneConfig
) -> OpenedNetworks:
    """Return both networks ready to run.

    Raises
    ------
    ModelError
        When onnxruntime cannot load one of them.
    """
    provider = find_provider(config.provider)
    copies, notes = [], []
    for word, loaded in (("pruned", pruned), ("dense", dense)):
        if loaded is not None:
            proto, note = to_executable(loaded.proto, loaded.folder, provider)
            copies.append(Model(proto, loaded.folder))
            notes += [] if note is None else [f"the {word} model is {note}"]
    if dense is None:
        return OpenedNetworks(
            copies[0], None, ((), final_activations(copies[0])), provider, tuple(notes)
        )
    finals = common_finals(copies[1], copies[0])
    return OpenedNetworks(copies[0], copies[1], finals, provider, tuple(notes))


def open_samples(
    loaded: LoadedModel, networks: OpenedNetworks, data: Any, config: PruneConfig
) -> tuple[Batches, Batches, tuple[str, ...]]:
    """Return the batches to learn from, those held out (a tenth), and notes.

    Batches are as :func:`samples_of_step` has them, and what memory allows, unless the options or
    the model say otherwise.

    Raises
    ------
    DataError
        When the data do not fit, are made up, or make one batch only.
    """
    inputs, n_classes = input_specs(loaded.proto), class_count(loaded.proto)
    found, notes = open_calibration(loaded.path, inputs, data, config, n_classes, LabelNeed.WELCOME)
    if found.synthetic:
        raise DataError(
            "retraining needs samples, and there are none beside the model; give them with -d"
        )
    if config.batch_size is None and found.recut is not None:
        size = min(samples_of_step(found.n_samples), most_at_once(networks, found, config.memory))
        found = found.recut(min(size, max(1, found.n_samples // 2)))
    session = Session(
        networks.pruned.proto, folder=networks.pruned.folder, provider=networks.provider
    )
    found = with_class_labels(cut_as_fixed_inside(found, session.run), None)
    return (*fitted_and_held(found), (*notes, *found.notes))


def samples_of_step(n_samples: int) -> int:
    """Return how many samples a step looks at: a 64th of all, 8 at least and 512 at most."""
    return min(max(n_samples // BATCHES, SMALLEST_BATCH), LARGEST_BATCH)


def most_at_once(networks: OpenedNetworks, batches: Batches, memory: int | None) -> int:
    """Return how many samples may go through the network at once, forward and back.

    The values of a forward pass are kept for the backward one, whose gradients have their sizes.
    """
    shapes = observe(networks.pruned, batches.load(0), provider=networks.provider)
    sizes = (
        math.prod(shape) * shapes.types[name].itemsize
        for name, shape in shapes.shapes.items()
        if name not in networks.pruned.main.initializers
    )
    each = 2 * sum(sizes) / batches.sizes[0]
    return max(1, int(share_out(memory).activations / max(each, 1)))


def find_aims(
    networks: OpenedNetworks, batches: Batches, towards: str
) -> tuple[tuple[Aim, ...], Session | None, ObservedValues]:
    """Return what is learnt, what gives the dense network's values, and what one batch told.

    Raises
    ------
    ConfigError
        When labels, or the dense network, are needed and not there.
    DataError
        When no output can be learnt by labels.
    """
    feeds = batches.load(0)
    values = observe(networks.pruned, feeds, provider=networks.provider)
    chosen = chosen_aim(networks, batches, towards)
    if chosen == LABELS:
        aim = class_aim(networks.pruned, networks.finals, values, by_labels=True)
        return (aim,), None, values
    assert networks.dense is not None
    session = _showing(networks.dense, networks.finals[0], networks.provider)
    if chosen == CLASSES:
        aim = class_aim(networks.pruned, networks.finals, values, by_labels=False)
        return (aim,), session, values
    seen: Mapping[str, Array] = session.run(feeds)
    return output_aims(networks.pruned, networks.finals, values, seen), session, values


def chosen_aim(networks: OpenedNetworks, batches: Batches, towards: str) -> str:
    """Return what is learnt: of ``auto``, labels where there are any, else what the dense gives.

    That is its classes where the only output is one Softmax for each sample, and its outputs
    anywhere else.
    """
    has_labels = batches.labels is not None
    if towards == AUTO and has_labels:
        towards = LABELS
    elif towards == AUTO:
        towards = CLASSES if _is_classifier(networks) else OUTPUTS
    if towards == LABELS and not has_labels:
        raise ConfigError(
            f"towards labels: {batches.origin} has none; add an array `label`, or give the dense "
            "model and train towards its outputs"
        )
    if towards != LABELS and networks.dense is None:
        raise ConfigError(
            "without labels a network is trained towards the dense model's outputs, and no dense "
            "model was given; give it with --dense, or data with labels"
        )
    return towards


def _is_classifier(networks: OpenedNetworks) -> bool:
    """Whether both networks give nothing but one Softmax for each sample."""
    finals = networks.finals[1]
    is_one = len(networks.pruned.main.graph.output) == len(finals) == 1
    is_softmax = is_one and finals[0].activation.op in SOFTMAXES
    return is_softmax and class_count(networks.pruned.proto) is not None


def _showing(model: Model, finals: Finals, provider: str) -> Session:
    """Return what gives a network's outputs and the values in front of their activations."""
    outputs = {output.name for output in model.main.graph.output}
    shown = sorted({final.value for final in finals} - outputs)
    return Session(model.proto, folder=model.folder, provider=provider, shown=shown)
