"""Rounds the tables of which nodes look up rows, in the networks of a run that stores int8."""

from __future__ import annotations

from collections.abc import Mapping

from onnx_lobs.arrays import RealArray
from onnx_lobs.graph.model import Model
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.solvers.vector_rounding import round_vectors
from onnx_lobs.storage.formats import find_format
from onnx_lobs.storage.int8 import LEAST_OPSET
from onnx_lobs.storage.row_tables import find_row_tables


def rounds_tables(config: PruneConfig) -> bool:
    """Whether tables become int8: with int8 values, unless onnxruntime.quantization does it."""
    return config.values == "int8" and config.activations != "int8"


def row_tables(setup: Setup, model: Model) -> tuple[str, ...]:
    """Return the names of the tables that a run rounds; none without :func:`rounds_tables`."""
    if not rounds_tables(setup.config) or model.opset < LEAST_OPSET:
        return ()
    return find_row_tables(model, {layer.weight for layer in setup.layers})


def round_tables(setup: Setup, networks: Networks, log: Log) -> Mapping[str, RealArray]:
    """Round the rows of all tables in the pruned network and the result.

    Parameters
    ----------
    networks
        `pruned` and `result` change.
    log
        Told how much the tables change.

    Returns
    -------
    mapping
        The scales of the rows, by the key of the table.
    """
    found: dict[str, RealArray] = {}
    changes, widths = [0.0], set[int]()
    for name in row_tables(setup, networks.result):
        tensor = networks.result.constant(networks.result.main, name)
        assert tensor is not None
        bits = find_format(setup.config.storage).table_bits(tensor)
        rounded = round_vectors(networks.result.value(tensor), 2 ** (bits - 1) - 1)
        for model in (networks.pruned, networks.result):
            own = model.constant(model.main, name)
            assert own is not None
            model.write(own, rounded.vectors.astype(model.value(own).dtype, copy=False))
        found[table_key(name)] = rounded.scales
        changes.append(rounded.change)
        widths.add(bits)
    if found:
        log.warn(
            f"tables of which rows are looked up ({len(found)}) are int8 too, a scale for each "
            f"row, stored in {' or '.join(map(str, sorted(widths)))} bits: that changes them by at "
            f"most {max(changes):.1g} of their mean square"
        )
    return found


def table_key(name: str) -> str:
    """Return what identifies a table within its model; that of a layer has the same form."""
    return f"0:{name}"
