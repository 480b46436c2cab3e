"""Makes a network compute in int8, by onnxruntime.quantization, with the weights of the run.

Calibrator and the choice of nodes are onnxruntime's. The weights of the run are handed over with
their scales, so that their int8 numbers, and the zeros among them, are those that were chosen.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from onnx_lobs.arrays import Array
from onnx_lobs.data.batches import Batches
from onnx_lobs.errors import ConfigError, InferenceError
from onnx_lobs.graph.files.external import external_bytes
from onnx_lobs.graph.files.walk import iter_graphs
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import RUN_ERRORS, one_line
from onnx_lobs.options.config import PruneConfig, has_target
from onnx_lobs.storage.formats import StorageFormat
from onnx_lobs.storage.int8 import to_codes
from onnx_lobs.storage.stored_weights import lift_constants
from onnx_lobs.storage.values import WeightValues

ACTIVATIONS_OPSET = 13  # the first in which the weights have a scale for each output
# what onnxruntime.quantization raises on models and overrides that it cannot take
TROUBLE: tuple[type[Exception], ...] = (
    *RUN_ERRORS, ValueError, KeyError, AttributeError, AssertionError,
)  # fmt: skip
QUANTISED = "_quantized"  # ends the name that onnxruntime gives an int8 weight


def check_activations(config: PruneConfig, model: Model) -> None:
    """Raise ConfigError when activations cannot become int8.

    Raises
    ------
    ConfigError
        The weights are not to be int8; the operator set is too old; a target is searched for, whose
        measures are those of floating activations; external data, which are not looked at here.
    """
    if config.values != "int8":
        raise ConfigError(
            f"activations int8 need int8 weights, values are {config.values}; add --values int8"
        )
    if model.opset < ACTIVATIONS_OPSET:
        raise ConfigError(
            f"activations int8 need operator set {ACTIVATIONS_OPSET} or later, the model imports "
            f"{model.opset}; convert it with onnx.version_converter"
        )
    if has_target(config):
        raise ConfigError(
            "activations int8 are made after a target is met with floating ones, which would say "
            "nothing; give a --sparsity in place of the target"
        )
    if external_bytes(model.proto):
        raise ConfigError(
            "activations int8 are not possible with weights in external data; save the model in "
            "one file first (onnx.save)"
        )


def quantise_activations(
    proto: ModelProto,
    weights: Sequence[WeightValues],
    batches: Batches,
    storage: StorageFormat,
) -> list[str]:
    """Make a model compute in int8, in place, and store its weights in a format; return warnings.

    Parameters
    ----------
    proto
        The result of a run, in which weights with scales are multiples of them.
    weights
        Those of the run. Those in subgraphs are quantised as onnxruntime does.
    batches
        What activations are calibrated on.
    storage
        How the int8 weights are stored: after they are quantised, since onnxruntime.quantization
        reads dense ones only.

    Raises
    ------
    InferenceError
        When onnxruntime.quantization cannot quantise the model.
    """
    names = {weight.name for weight in weights}
    lift_constants(proto, names)
    own = _own(proto, weights)
    quantised = _quantise(proto, own, batches)
    proto.CopyFrom(quantised)
    stored = [f"{name}{QUANTISED}" for name in names]
    changed = _changed(proto, own)
    storage.encode(proto, stored, None)
    notes = storage.notes(proto, stored)
    if changed:
        shown = ", ".join(map(repr, changed[:3]))
        notes.append(f"{len(changed)} weights are not the int8 numbers of the run: {shown}")
    return notes


def _own(proto: ModelProto, weights: Sequence[WeightValues]) -> dict[str, tuple[Array, Any]]:
    """Return the int8 numbers and the scales of the main graph's weights that have them."""
    model = Model(proto, None)
    found = {}
    for weight in weights:
        tensor = None if weight.scope else model.constant(model.main, weight.name)
        if tensor is None or weight.scales is None:
            continue
        codes = to_codes(model.value(tensor), weight.scales)
        if codes is not None:
            found[weight.name] = codes, weight.scales
    return found


def _quantise(
    proto: ModelProto, own: Mapping[str, tuple[Array, Any]], batches: Batches
) -> ModelProto:
    """Return the model as onnxruntime.quantization makes it, with scales of our own."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    overrides = {}
    for name, (_, scales) in own.items():
        shared: dict[str, Any] = {"quant_type": QuantType.QInt8, "zero_point": np.array(0, np.int8)}
        shared |= {} if scales.axis is None else {"axis": scales.axis}
        each = scales.values.reshape(-1).astype(np.float32)
        overrides[name] = [{**shared, "scale": scale} for scale in each]
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises to preprocess
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            quantize_static(
                proto, path, _reader(batches), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
                extra_options={"TensorQuantOverrides": overrides, "WeightSymmetric": True},
            )  # fmt: skip
            return onnx.load(path)
    except TROUBLE as error:
        raise InferenceError(
            f"onnxruntime.quantization cannot quantise the model: {one_line(error)}; leave out "
            "--activations int8"
        ) from error
    finally:
        logging.disable(level)


def _reader(batches: Batches) -> Any:
    """Return the batches as onnxruntime's calibrators read them."""
    from onnxruntime.quantization import CalibrationDataReader

    class _Batches(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[Mapping[str, Array]] = iter(batches)

        def get_next(self) -> Any:
            return next(self._left, None)

    return _Batches()


def _changed(proto: ModelProto, own: Mapping[str, tuple[Array, Any]]) -> list[str]:
    """Return the weights that were quantised to other numbers than those of the run."""
    stored = {t.name: t for graph in iter_graphs(proto) for t in graph.initializer}
    found = {name: stored.get(f"{name}{QUANTISED}") for name in own}
    return [
        name
        for name, tensor in found.items()
        if tensor is not None
        and not np.array_equal(onnx.numpy_helper.to_array(tensor), own[name][0])
    ]
