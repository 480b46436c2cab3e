"""What a run works on: three copies of the model, its layers, its data, its zeros."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnx_lobs.allocation.choice import protects_by_measurement
from onnx_lobs.calibration.batch_size import fit_batches
from onnx_lobs.calibration.options import LEAST_OBSERVATIONS
from onnx_lobs.calibration.target_cache import TargetCache
from onnx_lobs.data.files import find_beside
from onnx_lobs.data.reader import Batches, InputSpec, input_specs, open_data
from onnx_lobs.data.synthetic import guesses, synthetic_batches
from onnx_lobs.errors import LobsError
from onnx_lobs.evaluation.scoring import Scoring, open_scoring
from onnx_lobs.graph.files.external import copy_data, external_bytes
from onnx_lobs.graph.files.load import PROTOBUF_LIMIT, LoadedModel, load_model
from onnx_lobs.graph.files.tensors import is_external, raw_size
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.graph.run.session import PROVIDER_NAMES, find_provider
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.layers.layer import Layer, Skip
from onnx_lobs.layers.write import add_biases
from onnx_lobs.memory.scratch import Scratch, writing
from onnx_lobs.memory.shares import MemoryShares, share_out
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.data import BATCH_SIZE
from onnx_lobs.patterns import Pattern, parse_pattern
from onnx_lobs.report.record import SkipRecord
from onnx_lobs.run.slots import first_budgets

ModelSource = str | os.PathLike[str] | bytes | onnx.ModelProto
SYNTHETIC_SAMPLES = 64


class NothingToPruneError(LobsError):
    """The model has no layer that the options let be pruned."""


@dataclass
class Workspace:
    """The private state of one run.

    ``dense`` and ``pruned`` are execution copies that only run; ``result`` is the copy that is
    returned or written. Layers name tensors by scope and name, which are the same in all.
    ``pruned`` and ``result`` may share a working copy of the external data files. ``kept`` is for
    trials, which run the dense network over the same batches again and again.
    """

    config: PruneConfig
    loaded: LoadedModel
    dense: Model
    pruned: Model
    result: Model
    layers: tuple[Layer, ...]
    skips: list[SkipRecord]
    pattern: Pattern
    budgets: dict[str, int]
    batches: Batches
    scoring: Scoring | None
    provider: str
    warnings: list[str]
    room: MemoryShares
    least_observations: int = LEAST_OBSERVATIONS
    kept: TargetCache | None = None


def open_workspace(
    model: ModelSource,
    data: Any,
    test: Any,
    config: PruneConfig,
    scratch: Scratch | None = None,
    embed: int = PROTOBUF_LIMIT,
) -> Workspace:
    """Load the model, find its layers, open the data, share out the zeros.

    Parameters
    ----------
    scratch
        Where external data may be copied to; None: solved weights are embedded.
    embed
        Bytes of external weights that may be embedded in the model when they are solved; if
        the layers have more, their files are copied into `scratch` and change there.

    Raises
    ------
    ConfigError, ModelError, DataError
        Whatever is wrong with options, model or data is found here, before any work.
    NothingToPruneError
        When no layer is left.
    """
    pattern = parse_pattern(config.pattern)
    provider = find_provider(config.provider)
    loaded = load_model(model)
    room = share_out(config.memory)
    is_large = external_bytes(loaded.proto) > room.weights
    executable, note = to_executable(loaded.proto, loaded.folder, provider, light=is_large)
    index = Model(executable, loaded.folder)
    layers, skips = find_layers(index, selection(config, index.weight_bytes <= room.weights))
    if not layers:
        raise NothingToPruneError(_nothing(skips))
    batches, data_notes = open_calibration(loaded.path, input_specs(loaded.proto), data, config)
    if config.batch_size is None:
        size = BATCH_SIZE
        if not is_large:  # such a model runs in stages anyway
            # Grams that the graph computes are dearer the more batches there are
            in_caches = provider == PROVIDER_NAMES["cpu"] and config.gram != "graph"
            with guesses(batches):
                batches, size = fit_batches(
                    batches, index, layers, provider, config.memory, in_caches=in_caches
                )
        config = replace(config, batch_size=size)
    scoring, test_notes = open_scoring(loaded, test, config)
    folder = None if scratch is None else _copy_data(loaded, layers, scratch, embed)
    is_private = folder is not None
    folder = folder or loaded.folder
    result = Model(loaded.proto, folder, is_private=is_private)
    pruned = _with_biases(executable, folder, layers, is_private=is_private)
    return Workspace(
        config=config,
        loaded=loaded,
        dense=_with_biases(executable, loaded.folder, layers),
        pruned=pruned,
        result=result,
        layers=_real_dtypes(layers, result),
        skips=[skip_record(skip) for skip in skips],
        pattern=pattern,
        budgets=first_budgets(layers, config, pattern, skips),
        batches=batches,
        scoring=scoring,
        provider=provider,
        warnings=([note] if note else []) + data_notes + test_notes,
        room=room,
    )


def _nothing(skips: Sequence[Skip]) -> str:
    """Say why no layer is left, with the reason that most nodes have."""
    if not skips:
        return "nothing to prune: no Conv, ConvTranspose, Gemm or MatMul with constant weights"
    reason, count = Counter(skip.reason for skip in skips).most_common(1)[0]
    return (
        f"nothing to prune: {len(skips)} nodes with weights were skipped, {count} of them for "
        f"{reason!r}; `onnx-lobs inspect` lists all with reasons"
    )


def renewed(work: Workspace, sparsity: float) -> Workspace:
    """Return a run at another sparsity, with fresh copies of what a run changes.

    `work` and its models are not modified; its budgets are those of the rule for the sparsity.
    """
    config = replace(work.config, sparsity=sparsity)
    pruned, result = (model.copied() for model in (work.dense, work.result))
    return replace(
        work,
        config=config,
        pruned=pruned,
        result=result,
        budgets=first_budgets(work.layers, config, work.pattern),
        skips=list(work.skips),
        warnings=list(work.warnings),
    )


def _copy_data(
    loaded: LoadedModel, layers: Sequence[Layer], scratch: Scratch, embed: int
) -> Path | None:
    """Copy the external data if the layers have more of it than may be embedded.

    Raises
    ------
    ConfigError
        When there is no room for the copy.
    """
    if loaded.folder is None:
        return None
    model = Model(loaded.proto, loaded.folder)
    tensors = (model.constant(model.scopes[layer.scope], layer.weight) for layer in layers)
    external = sum(raw_size(t) for t in tensors if t is not None and is_external(t))
    if external == 0 or external + loaded.proto.ByteSize() <= embed:
        return None
    target = scratch.folder / "data"
    with writing(scratch.base):
        target.mkdir()
        copy_data(loaded.proto, loaded.folder, target)
    return target


def selection(config: PruneConfig, can_measure: bool = True) -> LayerFilter:
    """Return the part of the options that chooses layers.

    Parameters
    ----------
    can_measure
        Whether the model fits what measuring its layers takes.
    """
    measured = can_measure and protects_by_measurement(config, parse_pattern(config.pattern))
    return LayerFilter(
        config.include, config.exclude, config.op_types, config.min_weights, depthwise=measured,
        own=tuple(config.layer_sparsity),
    )  # fmt: skip


def skip_record(skip: Skip) -> SkipRecord:
    """Return the report's form of a Skip."""
    return SkipRecord(skip.node, skip.op, skip.reason)


def open_calibration(
    path: Path | None, inputs: Sequence[InputSpec], data: Any, config: PruneConfig
) -> tuple[Batches, list[str]]:
    """Open the calibration data given, or found beside the model, or make some up.

    Returns
    -------
    (Batches, list of str)
        The data, and warnings.

    Raises
    ------
    DataError
        When the data do not fit the model, or none can be made up for it.
    """
    source = data
    if source is None and path is not None:
        source = find_beside(path)
    if source is not None:
        batches = open_data(
            source,
            inputs,
            samples=config.samples,
            batch_size=config.batch_size or BATCH_SIZE,
            seed=config.seed,
        )
        return batches, []
    batches = synthetic_batches(
        inputs,
        samples=config.samples or SYNTHETIC_SAMPLES,
        batch_size=config.batch_size or BATCH_SIZE,
        seed=config.seed,
        input_shapes=config.input_shapes,
    )
    warning = (
        "no calibration data were given or found beside the model: random inputs were used. "
        "The errors below are guesses; give real inputs with -d"
    )
    return batches, [warning]


def _with_biases(
    executable: onnx.ModelProto,
    folder: Path | None,
    layers: Sequence[Layer],
    *,
    is_private: bool = False,
) -> Model:
    copy = onnx.ModelProto()
    copy.CopyFrom(executable)
    add_biases(Model(copy, folder), layers)
    return Model(copy, folder, is_private=is_private)


def _real_dtypes(layers: Sequence[Layer], real: Model) -> tuple[Layer, ...]:
    """Return the layers with the types that the model's file stores them in."""
    result = []
    for layer in layers:
        tensor = real.constant(real.scopes[layer.scope], layer.weight)
        assert tensor is not None
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        result.append(replace(layer, dtype=dtype))
    return tuple(result)
