"""Holds every option of a pruning run in one frozen record, checked once when it is made.

The command line's options and the keyword arguments of :func:`onnx_lobs.prune` are these
fields, under the same names. Each is declared in the file of its panel.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx_lobs.options.data import DataOptions
from onnx_lobs.options.how import HowOptions
from onnx_lobs.options.machine import MachineOptions
from onnx_lobs.options.option import Option, check_options, options_of
from onnx_lobs.options.output import OutputOptions
from onnx_lobs.options.prose import documents_options
from onnx_lobs.options.rounds import RoundOptions
from onnx_lobs.options.samples import SampleOptions
from onnx_lobs.options.what import CHANNELS, WhatOptions

PANELS = {
    "What is pruned": WhatOptions,
    "How": HowOptions,
    "Retraining": RoundOptions,
    "Data": DataOptions,
    "Pictures, sound, texts, tables": SampleOptions,
    "Machine": MachineOptions,
    "Output": OutputOptions,
}


# a dataclass takes the fields of its last base first
@documents_options
@dataclass(frozen=True, kw_only=True)
class PruneConfig(
    OutputOptions,
    MachineOptions,
    SampleOptions,
    DataOptions,
    RoundOptions,
    HowOptions,
    WhatOptions,
):
    """The options of one pruning run.

    Raises
    ------
    ConfigError
        When a value is out of its range; the message names value, limit and remedy.
    """

    def __post_init__(self) -> None:
        check_options(self)


OPTIONS: dict[str, Option] = {
    name: declared
    for panel, record in PANELS.items()
    for name, declared in options_of(record, panel).items()
}


def is_channels(config: PruneConfig) -> bool:
    """Whether whole channels are removed."""
    return config.pattern.strip().lower() == CHANNELS


def removes_first(config: PruneConfig) -> bool:
    """Whether whole channels are removed before the weights that stay are pruned."""
    return config.channels is not None


def moves_weights(config: PruneConfig) -> bool:
    """Whether weights move once more behind pruning."""
    return config.retrain is not None or config.refit_blocks


def has_target(config: PruneConfig) -> bool:
    """Whether the options name what the sparsity is to be found by, in place of it."""
    return has_limit(config) or fits_chip(config)


def has_limit(config: PruneConfig) -> bool:
    """Whether the options name a limit in place of a sparsity."""
    return any(x is not None for x in (config.max_drop, config.max_output_error, config.max_bytes))


def fits_chip(config: PruneConfig) -> bool:
    """Whether the sparsity is to be found at which the network's C code fits a part."""
    is_free = config.sparsity is None and config.rounds is None and not has_limit(config)
    return config.target == "c" and config.chip is not None and is_free
