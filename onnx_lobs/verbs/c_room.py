"""Foresees and measures the flash that a run's network takes as C code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import islice

import numpy as np
from onnx import ModelProto, numpy_helper

from onnx_lobs.arrays import Array
from onnx_lobs.errors import ConfigError
from onnx_lobs.graph.files.load import LoadedModel
from onnx_lobs.options.config import PruneConfig, fits_chip
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.one_run import Run
from onnx_lobs.run.setup import Setup
from onnx_lobs.search.fit import Room
from onnx_lobs.targets.c.emit import flash_estimate
from onnx_lobs.targets.c.lower.rules import lower
from onnx_lobs.targets.c.ranges import find_ranges
from onnx_lobs.targets.chips import Chip, read_chip
from onnx_lobs.verbs.c_code import CMade, CWanted, make_code, network_for, one_by_one

FORESEEN = (0.0, 0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
FEW = 8  # samples from which ranges come where only sizes are asked for


def check_code(setup: Setup, networks: Networks, chip: Chip | None) -> None:
    """Refuse a model that has no C code, or needs more RAM than a part has.

    Raises
    ------
    ConfigError
        An axis is open, or the RAM is too small at any share of zeros.
    ModelError, DataError, InferenceError
        As :func:`onnx_lobs.verbs.c_code.make_code`.
    """
    config = dataclasses.replace(setup.config, samples=FEW)
    network = network_for(_loaded(setup, networks), setup.batches, config)
    made = make_code(network, setup.batches, config, _wanted(config), "net", "net")
    ram = made.files.ram_bytes
    if chip is not None and chip.ram is not None and ram > chip.ram:
        raise ConfigError(
            f"nothing fits {chip.name}: the values between layers take {ram:,} of {chip.ram:,} B "
            "of RAM, whatever the zeros; take a larger part or a smaller network"
        )


def find_room(setup: Setup, networks: Networks) -> Room | None:
    """Check that C code can be made, where it is wanted; return what has to fit, if anything.

    Raises
    ------
    ConfigError, ModelError, DataError, InferenceError
        As :func:`check_code`.
    """
    config = setup.config
    if config.target != "c":
        return None
    chip = None if config.chip is None else read_chip(config.chip)
    check_code(setup, networks, chip)
    return room_on(chip, setup, networks) if chip is not None and fits_chip(config) else None


def code_of(run: Run, stem: str) -> CMade:
    """Return the C code of what a run pruned."""
    setup = run.setup
    network = network_for(_loaded(setup, run.networks), setup.batches, setup.config)
    wanted = _wanted(setup.config)
    return make_code(network, setup.batches, setup.config, wanted, stem, f"{stem}.onnx")


def room_on(chip: Chip, setup: Setup, networks: Networks) -> Room:
    """Return what a part has, and what the networks of a run take of it."""
    assert chip.flash is not None
    return Room(
        chip.name,
        chip.flash,
        _foreseen(setup, networks),
        lambda run: code_of(run, "net").flash_bytes,
    )


def _foreseen(setup: Setup, networks: Networks) -> Callable[[float], float]:
    """Return the bytes at a share of zeros, foreseen from the smallest weights set to zero.

    Cost: the network is read and lowered once for each share of FORESEEN.
    """
    loaded, batches, config = _loaded(setup, networks), setup.batches, setup.config
    ranges = None
    sizes = []
    for sparsity in FORESEEN:
        proto = _with_zeros(loaded, {layer.weight for layer in setup.layers}, sparsity)
        network = network_for(dataclasses.replace(loaded, proto=proto), batches, config)
        if ranges is None and config.values == "int8":
            few = list(islice(one_by_one(batches, network), FEW))
            ranges = find_ranges(network, few, "minmax")
        sizes.append(flash_estimate(lower(network, ranges, config.optimise)))
    return lambda sparsity: float(np.interp(sparsity, FORESEEN, sizes))


def _with_zeros(loaded: LoadedModel, names: set[str], sparsity: float) -> ModelProto:
    """Return a copy of a model whose smallest weights are zero."""
    proto = ModelProto()
    proto.CopyFrom(loaded.proto)
    folder = "" if loaded.folder is None else str(loaded.folder)
    for tensor in proto.graph.initializer:
        if tensor.name in names:
            values = _without_smallest(numpy_helper.to_array(tensor, folder), sparsity)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return proto


def _without_smallest(values: Array, sparsity: float) -> Array:
    flat: Array = values.reshape(-1).copy()
    flat[np.argsort(np.abs(flat), kind="stable")[: round(sparsity * flat.size)]] = 0
    return flat.reshape(values.shape)


def _loaded(setup: Setup, networks: Networks) -> LoadedModel:
    result = networks.result
    return dataclasses.replace(setup.loaded, proto=result.proto, folder=result.folder)


def _wanted(config: PruneConfig) -> CWanted:
    return CWanted(config.values, config.optimise)
