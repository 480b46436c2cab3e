"""Opens a run: loads the model, finds its layers, opens its data, and checks the options.

All that a run goes by is in a frozen :class:`Setup`; what it changes is in its
:class:`~onnx_lobs.run.networks.Networks`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from onnx_lobs.allocation.rules import Slot, check_limits
from onnx_lobs.calibration.batch_size import fit_batches
from onnx_lobs.calibration.options import LEAST_OBSERVATIONS
from onnx_lobs.data.fixed_inside import cut_as_fixed_inside
from onnx_lobs.data.kinds.request import LabelNeed
from onnx_lobs.data.kinds.table import check_read
from onnx_lobs.data.reader import Batches, input_specs
from onnx_lobs.data.synthetic import guesses
from onnx_lobs.evaluation.builtin import class_count
from onnx_lobs.evaluation.scoring import Scoring, open_scoring
from onnx_lobs.graph.files.external import external_bytes
from onnx_lobs.graph.files.load import PROTOBUF_LIMIT, LoadedModel, load_model
from onnx_lobs.graph.files.source import ModelSource
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.graph.run.session import PROVIDER_NAMES, Session, find_provider
from onnx_lobs.layers.constants import check_weights, with_finite_biases
from onnx_lobs.layers.find import Refused, find_layers
from onnx_lobs.layers.fold import fold_weights
from onnx_lobs.layers.inline import inline_functions
from onnx_lobs.layers.layer import Layer, Skip
from onnx_lobs.layers.loops import add_loop_taps
from onnx_lobs.layers.state_taps import add_state_taps
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.shares import MemoryShares, share_out
from onnx_lobs.options.config import PruneConfig, has_target
from onnx_lobs.options.data import BATCH_SIZE
from onnx_lobs.patterns import Pattern
from onnx_lobs.patterns.whole_columns import WholeColumns
from onnx_lobs.report.record import FileWeights
from onnx_lobs.run.calibration_data import open_calibration
from onnx_lobs.run.channel_options import check_channels, usual_budget
from onnx_lobs.run.file_weights import count_weights
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks, copy_external, make_networks
from onnx_lobs.run.preset_choice import choose_preset
from onnx_lobs.run.selection import (
    nothing_to_prune,
    rounded_too,
    selection,
    skip_records,
    weight_pattern,
)
from onnx_lobs.run.slots import layer_key, make_slots, present_zeros, wanted_sparsity
from onnx_lobs.storage.expand import expand_weights


@dataclass(frozen=True)
class Setup:
    """What a run goes by. Nothing of it changes while it runs.

    Parameters
    ----------
    config
        The options, with the batch size that was chosen.
    loaded
        The model as it was read, with weights folded that it computed from constants.
    pattern
        Where zeros may stand.
    layers
        What is pruned, in graph order, with the types that the model's file stores.
    slots
        The layers as an allocation sees them, in the same order, a weight costing 1.
    batches
        Calibration data.
    scoring
        The score and its test data, or None.
    memory
        Bytes for each use.
    least_observations
        That calibration reads of a layer, if the data have so many.
    file
        The weights of the whole file.
    kept
        The columns that layers keep, by their key, where whole channels go.
    """

    config: PruneConfig
    loaded: LoadedModel
    pattern: Pattern
    layers: tuple[Layer, ...]
    slots: tuple[Slot, ...]
    batches: Batches
    scoring: Scoring | None
    memory: MemoryShares
    least_observations: int = LEAST_OBSERVATIONS
    file: FileWeights | None = None
    kept: Mapping[str, WholeColumns] = field(default_factory=dict)

    @property
    def sparsity(self) -> float:
        """Fraction of zeros asked for; with a target, the one that is looked at or the default."""
        return wanted_sparsity(self.config, self.pattern)

    def with_options(self, **options: Any) -> Setup:
        """Return the same with other options, which decide neither layers nor data."""
        config = dataclasses.replace(self.config, **options)
        return dataclasses.replace(self, config=config)

    def at(self, sparsity: float) -> Setup:
        """Return the same at another sparsity."""
        return self.with_options(sparsity=sparsity)

    def only(self, keys: Collection[str]) -> Setup:
        """Return the same with some of its layers, by their keys."""
        pairs = zip(self.layers, self.slots, strict=True)
        chosen = [(layer, slot) for layer, slot in pairs if layer_key(layer) in keys]
        layers, slots = tuple(layer for layer, _ in chosen), tuple(slot for _, slot in chosen)
        return dataclasses.replace(self, layers=layers, slots=slots)


def open_run(
    model: ModelSource | LoadedModel,
    data: Any,
    test: Any,
    config: PruneConfig,
    log: Log,
    scratch: Scratch | None = None,
    embed: int = PROTOBUF_LIMIT,
    opened: Setup | None = None,
) -> tuple[Setup, Networks]:
    """Load the model, find its layers, and open the data.

    Parameters
    ----------
    model
        A model that was read before is changed.
    log
        Told of nodes that are skipped, and of what the data or the model lack.
    scratch
        Where external data may be copied to; None: solved weights are embedded.
    embed
        Bytes of external weights that may be embedded in the model when they are solved; if
        the layers have more, their files are copied into `scratch` and change there.
    opened
        A run with the same data, which are then taken from it, as are `config`'s choices of how
        they are read.

    Raises
    ------
    ConfigError, ModelError, DataError
        Whatever is wrong with options, model or data is found here, before any work.
    NothingToPruneError
        When no layer is left.
    """
    pattern, provider = weight_pattern(config), find_provider(config.provider)
    if config.rounds is not None and config.sparsity is None:  # the last has to be possible
        config = dataclasses.replace(config, sparsity=config.rounds[-1])
    check_channels(config)
    config = dataclasses.replace(config, budget=usual_budget(config))
    loaded = model if isinstance(model, LoadedModel) else load_model(model)
    memory = share_out(config.memory)
    if config.storage is None:  # a model keeps its form
        config = dataclasses.replace(config, storage="sparse" if loaded.sparse else "dense")
    expand_weights(loaded, to_float=True)
    inlining, folding = inline_functions(loaded), fold_weights(loaded)
    is_large = external_bytes(loaded.proto) > memory.weights
    executable, note = to_executable(loaded.proto, loaded.folder, provider, light=is_large)
    log.warn(*([note] if note else []), *inlining.notes, *folding.notes)
    add_state_taps(executable, loaded.folder)
    add_loop_taps(executable, loaded.folder)
    index = Model(executable, loaded.folder)
    refused = {**inlining.refused, **folding.refused}
    can_measure = index.weight_bytes <= memory.weights
    layers, only_rounded, skips = _layers(index, config, log, refused, can_measure=can_measure)
    if not is_large:  # such a model runs in stages, and its weights are read when they are solved
        check_weights(index, layers)
    if opened is None:
        config, batches, scoring = _open_data(
            loaded, executable, layers, data, test, config, log, is_large=is_large
        )
    else:
        batches, scoring = opened.batches, opened.scoring
    copied = None if scratch is None else copy_external(loaded, layers, scratch, embed)
    networks = make_networks(loaded, executable, layers, copied, provider, memory.weights)
    layers = _real_dtypes(layers, networks.result)
    present = present_zeros(networks.result, layers, pattern)
    slots = _slots(layers, config, pattern, skips, present, only_rounded)
    setup = Setup(
        config, loaded, pattern, layers, slots, batches, scoring, memory,
        file=count_weights(index, layers, skips),
    )  # fmt: skip
    return setup, networks


def _open_data(
    loaded: LoadedModel,
    executable: onnx.ModelProto,
    layers: Sequence[Layer],
    data: Any,
    test: Any,
    config: PruneConfig,
    log: Log,
    *,
    is_large: bool,
) -> tuple[PruneConfig, Batches, Scoring | None]:
    """Open the data; return them, the score, and the options with what the data decide."""
    check_read(config, (data, test))
    config, notes = choose_preset(loaded, (test, data), config)
    log.warn(*notes)
    inputs, n_classes = input_specs(loaded.proto), class_count(loaded.proto)
    labels = LabelNeed.WELCOME if _learns_labels(config) else LabelNeed.UNUSED
    batches, notes = open_calibration(loaded.path, inputs, data, config, n_classes, labels)
    run, index = None, Model(executable, loaded.folder)
    provider = find_provider(config.provider)
    if not is_large:
        run = Session(executable, folder=loaded.folder, provider=provider, light=True).run
        with guesses(batches):
            batches = cut_as_fixed_inside(batches, run)
    log.warn(*notes, *batches.notes)
    if config.batch_size is None:
        size = BATCH_SIZE
        if not is_large:  # such a model runs in stages anyway
            batches, size = _cut(batches, index, layers, provider, config)
        config = dataclasses.replace(config, batch_size=size)
    scoring, notes = open_scoring(loaded, test, config, run)
    log.warn(*notes)
    return config, batches, scoring


def _learns_labels(config: PruneConfig) -> bool:
    """Whether retraining behind pruning takes labels where there are any."""
    return config.retrain is not None and config.retrain_towards in ("auto", "labels")


def _layers(
    model: Model, config: PruneConfig, log: Log, refused: Refused, *, can_measure: bool
) -> tuple[tuple[Layer, ...], frozenset[str], tuple[Skip, ...]]:
    """Return the layers that the options choose, at least one, and the nodes that are skipped.

    Between them the keys of the layers that get no zeros, and are there to be rounded.
    """
    chosen = selection(config, can_measure)
    layers, skips = find_layers(model, chosen, refused)
    if not layers:
        raise nothing_to_prune(skips)
    only_rounded: frozenset[str] = frozenset()
    wider = rounded_too(config, chosen)
    if wider != chosen:
        pruned = set(map(layer_key, layers))
        layers, skips = find_layers(model, wider, refused)
        only_rounded = frozenset(map(layer_key, layers)) - pruned
    log.skip(*skip_records(skips))
    return with_finite_biases(model, layers), only_rounded, skips


def _cut(
    batches: Batches, model: Model, layers: Sequence[Layer], provider: str, config: PruneConfig
) -> tuple[Batches, int]:
    """Return batches that show no more than the memory lets, and their size."""
    # Grams that the graph computes are dearer the more batches there are
    in_caches = provider == PROVIDER_NAMES["cpu"] and config.gram != "graph"
    with guesses(batches):
        return fit_batches(batches, model, layers, provider, config.memory, in_caches=in_caches)


def _slots(
    layers: Sequence[Layer],
    config: PruneConfig,
    pattern: Pattern,
    skips: Sequence[Skip],
    present: Sequence[int],
    only_rounded: Collection[str],
) -> tuple[Slot, ...]:
    """Return the slots of the layers; raise ConfigError when no zeros meet what is asked."""
    sparsity = wanted_sparsity(config, pattern)
    slots = [
        dataclasses.replace(slot, fixed=0.0) if layer_key(layer) in only_rounded else slot
        for layer, slot in zip(layers, make_slots(layers, config, skips, present), strict=True)
    ]
    # a target stays within the limits by itself; what other budgets allow is known later
    if not has_target(config) and config.budget == "weights":
        check_limits(slots, sparsity)
    return tuple(slots)


def _real_dtypes(layers: Sequence[Layer], real: Model) -> tuple[Layer, ...]:
    """Return the layers with the types that the model's file stores them in."""
    result = []
    for layer in layers:
        tensor = real.constant(real.scopes[layer.scope], layer.weight)
        assert tensor is not None
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        result.append(dataclasses.replace(layer, dtype=dtype))
    return tuple(result)
