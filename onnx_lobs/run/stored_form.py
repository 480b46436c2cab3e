"""Brings the result of a run into the form in which it is written: values, then format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx

from onnx_lobs.arrays import RealArray
from onnx_lobs.errors import ConfigError
from onnx_lobs.graph.files.external import external_bytes
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.output_axis import output_axis
from onnx_lobs.run.activations import check_activations, quantise_activations
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.row_tables import row_tables, table_key
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.slots import layer_key
from onnx_lobs.storage.formats import find_format
from onnx_lobs.storage.int8 import Scales
from onnx_lobs.storage.values import VALUES, WeightValues, encode_values

SHOWN = 3  # names in a warning


def check_form(setup: Setup, networks: Networks) -> None:
    """Raise ConfigError when the model cannot be written as the options say."""
    config, model = setup.config, networks.result
    values, storage = VALUES[config.values], find_format(config.storage)
    if model.opset < values.least_opset:
        raise ConfigError(
            f"values {values.name} need operator set {values.least_opset} or later, the model "
            f"imports {model.opset}; convert it with onnx.version_converter, or use --values fp16"
        )
    if config.activations == "int8":
        check_activations(config, model)
    if (trouble := storage.trouble(model.proto)) is not None:
        raise ConfigError(f"format {storage.name} is not possible: {trouble}")


def pruned_names(setup: Setup) -> list[str]:
    """Return the weights that are pruned, in whatever graph."""
    return [layer.weight for layer in setup.layers]


def encode_result(
    setup: Setup,
    proto: onnx.ModelProto,
    folder: Path | None,
    scales: Mapping[str, RealArray],
    *,
    quantises: bool = True,
) -> list[str]:
    """Store the weights of a result as the options say, in place; return warnings.

    Parameters
    ----------
    scales
        By the key of the layer: those of which its weights are multiples.
    quantises
        Whether activations become int8 too, if the options say so.
    """
    config = setup.config
    kind, storage = VALUES[config.values], find_format(config.storage)
    model = Model(proto, folder)
    weights, tables = weight_values(setup, model, scales), table_values(setup, model, scales)
    if config.activations == "int8" and quantises:
        return quantise_activations(proto, weights, setup.batches, storage)
    every = encode_values(proto, [*weights, *tables], kind, folder)
    held = every[: len(weights)]
    pairs = zip(setup.layers, held, strict=True)
    same = [layer.name for layer, name in pairs if name == layer.weight]
    storable = list(dict.fromkeys([*every, *setup.loaded.sparse]))  # what was sparse stays so
    storage.encode(proto, storable, folder)
    notes = storage.notes(proto, held)
    if kind.element is not None and same:
        notes.append(_kept(kind.name, same))
    return notes


def weight_values(
    setup: Setup, model: Model, scales: Mapping[str, RealArray]
) -> list[WeightValues]:
    """Return the weights of the layers, in their order, with the scales of those that have them."""
    return [
        WeightValues(layer.scope, layer.weight, _scales(model, layer_key(layer), at, setup, scales))
        for at, layer in enumerate(setup.layers)
    ]


def table_values(setup: Setup, model: Model, scales: Mapping[str, RealArray]) -> list[WeightValues]:
    """Return the tables whose rows were rounded, with their scales."""
    return [
        WeightValues(0, name, Scales(scales[table_key(name)], 0))
        for name in row_tables(setup, model)
        if table_key(name) in scales
    ]


def form_bytes(
    setup: Setup, proto: onnx.ModelProto, folder: Path | None, scales: Mapping[str, RealArray]
) -> int:
    """Return the bytes of a result and its external data in the form in which it is written."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    encode_result(setup, copy, folder, scales, quantises=False)
    return int(copy.ByteSize()) + external_bytes(copy)


def _scales(
    model: Model, key: str, at: int, setup: Setup, scales: Mapping[str, RealArray]
) -> Scales | None:
    """Return the scales of a layer along the axis of its outputs, or None if it has none."""
    if key not in scales:
        return None
    layer = setup.layers[at]
    tensor = model.constant(model.scopes[layer.scope], layer.weight)
    assert tensor is not None
    return Scales(scales[key], output_axis(layer, tuple(tensor.dims), model.opset).axis)


def _kept(kind: str, names: list[str]) -> str:
    """Say which layers are not stored as the kind of values says."""
    shown = ", ".join(map(repr, names[:SHOWN]))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (
        f"the weights of {shown}{more} were not stored as {kind}: no data reached them, they are "
        "inputs of the model, or their values do not fit"
    )
