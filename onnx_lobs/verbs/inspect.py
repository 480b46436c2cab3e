"""Lists what a model holds: layers that can be pruned, their zeros, what is skipped and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from onnx_lobs.allocation.rules import check_limits
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.outputs import model_files
from onnx_lobs.graph.files.source import ModelSource
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import find_layers
from onnx_lobs.layers.fold import fold_weights
from onnx_lobs.layers.inline import inline_functions
from onnx_lobs.layers.layer import Layer, Skip
from onnx_lobs.options.config import PruneConfig, has_target
from onnx_lobs.patterns import parse_pattern
from onnx_lobs.report.record import FileWeights, SkipRecord
from onnx_lobs.run.file_weights import count_weights
from onnx_lobs.run.selection import selection, skip_records
from onnx_lobs.run.slots import make_slots, wanted_sparsity
from onnx_lobs.storage.expand import expand_weights


@dataclass(frozen=True)
class LayerRow:
    """One layer: its stored weight, its problem's shape, and its zeros."""

    name: str
    op: str
    shape: tuple[int, ...]
    dtype: str
    groups: int
    rows: int
    columns: int
    weights: int
    zeros: int
    uses: int


@dataclass(frozen=True)
class Inspection:
    """A model as onnx-lobs sees it; ``file_bytes`` includes external data.

    Weights that are computed from constants are listed as :func:`onnx_lobs.prune` stores them, and
    ``warnings`` says so. ``weights`` counts those of the whole file.
    """

    model: str
    opset: int
    ir_version: int
    producer: str
    file_bytes: int
    layers: tuple[LayerRow, ...]
    skipped: tuple[SkipRecord, ...]
    weights: FileWeights
    warnings: tuple[str, ...] = ()


def inspect(model: ModelSource, config: PruneConfig | None = None) -> Inspection:
    """List the layers of a model without running it.

    Raises
    ------
    ModelError
        When the model cannot be read or is not valid.
    ConfigError
        When an include or exclude pattern matches nothing, or the options ask of the layers what
        a run would refuse.
    """
    loaded = load_model(model)
    file_bytes = _bytes(loaded.proto, loaded.path)
    expand_weights(loaded, to_float=True)
    inlining, folding = inline_functions(loaded), fold_weights(loaded)
    refused = {**inlining.refused, **folding.refused}
    index = Model(loaded.proto, loaded.folder)
    config = config or PruneConfig()
    layers, skips = find_layers(index, selection(config), refused)
    _check_asked(layers, skips, config)
    proto = loaded.proto
    return Inspection(
        model="model" if loaded.path is None else str(loaded.path),
        opset=index.opset,
        ir_version=proto.ir_version,
        producer=f"{proto.producer_name} {proto.producer_version}".strip(),
        file_bytes=file_bytes,
        layers=tuple(_row(index, layer) for layer in layers),
        skipped=skip_records(skips),
        warnings=(*inlining.notes, *folding.notes),
        weights=count_weights(index, layers, skips, zeros=True),
    )


def _check_asked(layers: Sequence[Layer], skips: Sequence[Skip], config: PruneConfig) -> None:
    """Raise ConfigError where a run would refuse what the options ask of the layers."""
    sparsity = wanted_sparsity(config, parse_pattern(config.pattern))
    if layers:
        slots = make_slots(layers, config, skips)
        if not has_target(config) and config.budget == "weights":
            check_limits(slots, sparsity)


def _row(model: Model, layer: Layer) -> LayerRow:
    tensor = model.constant(model.scopes[layer.scope], layer.weight)
    assert tensor is not None
    values = model.value(tensor)
    layout = layer.layout
    return LayerRow(
        name=layer.name,
        op=layer.op,
        shape=tuple(tensor.dims),
        dtype=layer.dtype.name,
        groups=layout.groups,
        rows=layout.rows,
        columns=layout.columns,
        weights=layer.size,
        zeros=int(layer.size - np.count_nonzero(values)),
        uses=len(layer.uses),
    )


def _bytes(proto: onnx.ModelProto, path: Path | None) -> int:
    if path is None:
        return int(proto.ByteSize())
    return sum(file.stat().st_size for file in model_files(path))
