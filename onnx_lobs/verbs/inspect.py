"""Lists what a model holds: inputs, operators, layers, their zeros and work, what is skipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from onnx_lobs.allocation.rules import check_limits
from onnx_lobs.data.inputs import input_specs
from onnx_lobs.data.kinds.table import check_read
from onnx_lobs.evaluation.builtin import class_count
from onnx_lobs.evaluation.input_ranges import input_ranges
from onnx_lobs.graph.files.load import LoadedModel, load_model
from onnx_lobs.graph.files.outputs import model_files
from onnx_lobs.graph.files.source import ModelSource
from onnx_lobs.graph.inferred_shapes import infer_shapes
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import find_layers
from onnx_lobs.layers.fold import fold_weights
from onnx_lobs.layers.inline import inline_functions
from onnx_lobs.layers.layer import Layer, Skip
from onnx_lobs.options.config import PruneConfig, has_target
from onnx_lobs.report.record import FileWeights, InputRange, SkipRecord
from onnx_lobs.run.calibration_data import open_calibration
from onnx_lobs.run.file_weights import count_weights
from onnx_lobs.run.preset_choice import choose_preset
from onnx_lobs.run.selection import selection, skip_records, weight_pattern
from onnx_lobs.run.slots import make_slots, wanted_sparsity
from onnx_lobs.storage.expand import expand_weights
from onnx_lobs.verbs.inspect_rows import LayerRow, ValueRow, count_operators, layer_row, value_rows


@dataclass(frozen=True)
class Inspection:
    """A model as onnx-lobs sees it; ``file_bytes`` includes external data.

    Weights that are computed from constants are listed as :func:`onnx_lobs.prune` stores them, and
    ``warnings`` says so. ``weights`` counts those of the whole file; ``pattern`` is the one that
    was asked for, or None; ``data`` says which samples were looked at, and ``ranges`` what values
    their first batch holds.
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
    inputs: tuple[ValueRow, ...] = ()
    outputs: tuple[ValueRow, ...] = ()
    operators: Mapping[str, int] = field(default_factory=dict)
    pattern: str | None = None
    data: str | None = None
    ranges: tuple[InputRange, ...] = ()

    @property
    def is_met(self) -> bool:
        """Whether all layers keep to the pattern that was asked for, or none was."""
        return self.pattern is None or all(row.is_met for row in self.layers)


def inspect(model: ModelSource, config: PruneConfig | None = None, data: Any = None) -> Inspection:
    """List the layers of a model, without running it but to find how pictures are scaled.

    Parameters
    ----------
    data
        Samples whose ranges are told, of any kind that a run takes; None: none.

    Raises
    ------
    ModelError
        When the model cannot be read or is not valid.
    ConfigError
        When an include or exclude pattern matches nothing, or the options ask of the layers what
        a run would refuse.
    DataError
        When the data do not fit the model.
    """
    loaded = load_model(model)
    file_bytes, graph = _bytes(loaded.proto, loaded.path), loaded.proto.graph
    operators = count_operators(graph)
    expand_weights(loaded, to_float=True)
    inlining, folding = inline_functions(loaded), fold_weights(loaded)
    refused = {**inlining.refused, **folding.refused}
    index = Model(loaded.proto, loaded.folder)
    config = config or PruneConfig()
    layers, skips = find_layers(index, selection(config), refused)
    _check_asked(layers, skips, config)
    proto = loaded.proto
    shapes, samples = infer_shapes(proto)
    asked = weight_pattern(config)
    pattern = None if asked.is_free else asked
    stored = [tensor.name for tensor in graph.initializer]
    origin, ranges, notes = _look_at(loaded, data, config)
    return Inspection(
        model="model" if loaded.path is None else str(loaded.path),
        opset=index.opset,
        ir_version=proto.ir_version,
        producer=f"{proto.producer_name} {proto.producer_version}".strip(),
        file_bytes=file_bytes,
        layers=tuple(layer_row(index, layer, shapes, samples, pattern) for layer in layers),
        skipped=skip_records(skips),
        warnings=(*inlining.notes, *folding.notes, *notes),
        inputs=value_rows(graph.input, without=stored),
        outputs=value_rows(graph.output),
        operators=operators,
        pattern=None if pattern is None else str(pattern),
        weights=count_weights(index, layers, skips, zeros=True),
        data=origin,
        ranges=ranges,
    )


def _look_at(
    loaded: LoadedModel, data: Any, config: PruneConfig
) -> tuple[str | None, tuple[InputRange, ...], tuple[str, ...]]:
    """Return what the samples are, the ranges of the first batch, and warnings."""
    if data is None:
        return None, (), ()
    check_read(config, (data,))
    config, notes = choose_preset(loaded, (data,), config)
    inputs, n_classes = input_specs(loaded.proto), class_count(loaded.proto)
    batches, more = open_calibration(loaded.path, inputs, data, config, n_classes)
    return batches.origin, input_ranges(batches), (*notes, *more, *batches.notes)


def _check_asked(layers: Sequence[Layer], skips: Sequence[Skip], config: PruneConfig) -> None:
    """Raise ConfigError where a run would refuse what the options ask of the layers."""
    sparsity = wanted_sparsity(config, weight_pattern(config))
    if layers:
        slots = make_slots(layers, config, skips)
        if not has_target(config) and config.budget in (None, "weights"):
            check_limits(slots, sparsity)


def _bytes(proto: onnx.ModelProto, path: Path | None) -> int:
    if path is None:
        return int(proto.ByteSize())
    return sum(file.stat().st_size for file in model_files(path))


__all__ = ["Inspection", "LayerRow", "ValueRow", "inspect"]
