"""Whether the zeros of the layers are measured, or given by a rule."""

from __future__ import annotations

from onnx_lobs.allocation.rules import RULES
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.patterns.pattern import NM, Pattern, Unstructured
from onnx_lobs.solvers import METHODS


def is_measured(config: PruneConfig, pattern: Pattern) -> bool:
    """Return whether the options ask for zeros by measured losses.

    ``auto`` does so for methods that are made for the pruned network's inputs, and for patterns
    whose counts can be chosen.
    """
    if config.allocation in RULES or isinstance(pattern, NM):
        return False
    return config.allocation != "auto" or METHODS[config.method].wants_sequential


def protects_by_measurement(config: PruneConfig, pattern: Pattern) -> bool:
    """Return whether measurement is what keeps depthwise convolutions from being pruned much.

    Where a rule shares the zeros out, they are left dense: they lose far more by it than others.
    Blocks of outputs do not exist within their groups of one.
    """
    return is_measured(config, pattern) and isinstance(pattern, Unstructured)
