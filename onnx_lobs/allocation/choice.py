"""Decides whether the zeros of the layers are measured, or given by a rule."""

from __future__ import annotations

from onnx_lobs.allocation.rules import RULES
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.patterns import Pattern
from onnx_lobs.solvers import METHODS


def is_measured(config: PruneConfig, pattern: Pattern) -> bool:
    """Return whether the options ask for zeros by measured losses.

    ``auto`` does so for methods that are made for the pruned network's inputs, and for patterns
    whose counts can be chosen and whose zeros are eliminated exactly, which is what measures them.
    """
    can_be = pattern.own_sparsity is None and pattern.tile is not None
    if config.allocation in RULES or not can_be:
        return False
    return config.allocation != "auto" or METHODS[config.method].wants_sequential


def protects_by_measurement(config: PruneConfig, pattern: Pattern) -> bool:
    """Return whether measurement is what keeps depthwise convolutions from being pruned much.

    Where a rule shares the zeros out, they are left dense: they lose far more by it than others.
    Tiles of several outputs do not exist within their groups of one.
    """
    return is_measured(config, pattern) and pattern.is_free
