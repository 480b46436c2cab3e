"""Says which layers the options choose, and why a model has none of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from onnx_lobs.allocation.choice import protects_by_measurement
from onnx_lobs.errors import LobsError
from onnx_lobs.layers.find import SQUARES_HELD, LayerFilter
from onnx_lobs.layers.layer import Skip
from onnx_lobs.layers.refusal import RefusalKind
from onnx_lobs.memory.shares import LEAST_SOLVER, available_memory
from onnx_lobs.options.config import PruneConfig, is_channels
from onnx_lobs.patterns import Pattern, parse_pattern
from onnx_lobs.report.record import SkipRecord
from onnx_lobs.solvers import METHODS

BARE_SQUARES = 5  # without a refit or a Hessian's inverse, measured 5.1


def weight_pattern(config: PruneConfig) -> Pattern:
    """Return where zeros may stand in a weight; whole channels go by themselves."""
    return parse_pattern("unstructured" if is_channels(config) else config.pattern)


class NothingToPruneError(LobsError):
    """The model has no layer that the options let be pruned."""


def selection(config: PruneConfig, can_measure: bool = True) -> LayerFilter:
    """Return the part of the options that chooses layers.

    Parameters
    ----------
    can_measure
        Whether the model fits what measuring its layers takes.
    """
    measured = can_measure and protects_by_measurement(config, weight_pattern(config))
    least, own = config.min_weights, is_channels(config)  # a small layer reads channels too
    return LayerFilter(
        config.include, config.exclude, config.op_types, 0 if own else least,
        depthwise=measured and not own,
        own=tuple(config.layer_sparsity), free_bytes=free_bytes(config.memory),
        squares_held=squares_held(config), prunes_tied=config.tied == "prune",
    )  # fmt: skip


def rounded_too(config: PruneConfig, chosen: LayerFilter) -> LayerFilter:
    """Return the layers whose values are stored as the options say, whether they get zeros or not.

    Where values are rounded those are also the small and the depthwise ones that `chosen` leaves
    dense, but for patterns of one sparsity only, which could not leave them without zeros.
    """
    if config.values == "fp32" or weight_pattern(config).own_sparsity is not None:
        return chosen
    return replace(chosen, depthwise=True, min_weights=0)


def free_bytes(memory: int | None) -> int:
    """Return the bytes that one layer may take: those that are free, and `memory` if it is less.

    A layer gets LEAST_SOLVER bytes in any case.
    """
    free = available_memory()
    return free if memory is None else min(free, max(memory, LEAST_SOLVER))


def squares_held(config: PruneConfig) -> int:
    """Return how many matrices of inputs x inputs a layer holds at the peak of its solve."""
    method = METHODS[config.method]
    is_large = method.needs_hessian or method.is_refitted(config.refit)
    return SQUARES_HELD if is_large else BARE_SQUARES


def skip_record(skip: Skip) -> SkipRecord:
    """Return the report's form of a Skip."""
    weights = sum(weight.size for weight in skip.held)
    return SkipRecord(skip.node, skip.op, skip.reason, skip.refusal.kind.value, weights)


def skip_records(skips: Sequence[Skip]) -> tuple[SkipRecord, ...]:
    """Return the report's form of what is skipped: without products that hold no weights."""
    listed = (skip for skip in skips if skip.refusal.kind is not RefusalKind.NO_WEIGHT)
    return tuple(map(skip_record, listed))


def nothing_to_prune(skips: Sequence[Skip]) -> NothingToPruneError:
    """Return the error that says why no layer is left, with the reason that most nodes have."""
    if not skips:
        return NothingToPruneError(
            "nothing to prune: no Conv, ConvTranspose, Gemm or MatMul with constant weights"
        )
    kind, count = Counter(skip.refusal.kind for skip in skips).most_common(1)[0]
    example = next(skip for skip in skips if skip.refusal.kind is kind)
    return NothingToPruneError(
        f"nothing to prune: {len(skips)} nodes with weights were skipped, {count} of them for "
        f"{example.reason!r}; `onnx-lobs inspect` lists all with reasons"
    )
