"""Zeros of each layer from one sparsity by a rule that looks at shapes only: uniform or ERK."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_lobs.errors import ConfigError
from onnx_lobs.pattern import Pattern, Unstructured

Array = NDArray[Any]
RULES = ("uniform", "erk")
ERK_FROM = 0.8  # measured: uniform has the lower output error at 50 %, erk at 90 % and above


@dataclass(frozen=True)
class Slot:
    """A layer as the allocation sees it.

    Parameters
    ----------
    shape
        (groups, rows, columns).
    taps
        Kernel positions per input channel.
    kernel
        Kernel sizes, empty for matrices.
    fixed
        Sparsity that the user gave this layer, or None.
    unit
        What one weight costs in the unit of the budget: 1, bytes, or multiplications per sample.
    """

    shape: tuple[int, int, int]
    taps: int = 1
    kernel: tuple[int, ...] = ()
    fixed: float | None = None
    unit: float = 1.0

    @property
    def size(self) -> int:
        """Number of weights."""
        groups, rows, columns = self.shape
        return groups * rows * columns


def default_rule(sparsity: float) -> str:
    """Return the rule that is better at a sparsity where nothing is measured."""
    return "erk" if sparsity > ERK_FROM else "uniform"


def allocate(
    slots: Sequence[Slot], sparsity: float, rule: str, pattern: Pattern
) -> tuple[int, ...]:
    """Return the number of zeros of every layer.

    Parameters
    ----------
    slots
        The layers. Those with a fixed sparsity get it; the others share `sparsity` of their
        cost, exactly where the pattern and the units let them.
    sparsity
        Fraction of the cost of all weights that is saved, in [0, 1).
    rule
        ``uniform``: the same sparsity everywhere. ``erk`` (Erdős-Rényi-Kernel: Mocanu et al.
        2018, Evci et al. 2020): density proportional to the sum over the product of the
        weight's dimensions, at most 1, so that small layers stay denser.
    pattern
        Where zeros may stand.

    Raises
    ------
    ConfigError
        When the rule is unknown.
    """
    free = [i for i, slot in enumerate(slots) if slot.fixed is None]
    wanted = np.array([slot.size * (slot.fixed or 0.0) for slot in slots])
    sizes = np.array([slots[i].size for i in free], dtype=np.float64)
    if rule == "uniform":
        wanted[free] = sparsity * sizes
    elif rule == "erk":
        wanted[free] = sizes * (1 - _erk_density([slots[i] for i in free], sparsity))
    else:
        raise ConfigError(f"allocation {rule!r} is unknown; choose uniform or erk")
    return to_counts(slots, wanted, pattern)


def to_counts(slots: Sequence[Slot], wanted: Array, pattern: Pattern) -> tuple[int, ...]:
    """Return the numbers of zeros, near the real numbers `wanted`, that the pattern can hold.

    Unstructured zeros of the layers without a fixed sparsity keep their sum, rounded.
    """
    if isinstance(pattern, Unstructured) and not pattern.equal_rows:
        free = [i for i, slot in enumerate(slots) if slot.fixed is None]
        counts = np.floor(wanted + 0.5).astype(int)
        counts[free] = _round_to_total(wanted[free], round(float(wanted[free].sum())))
        return tuple(int(n) for n in counts)
    return tuple(
        pattern.closest(slot.shape, float(w) / max(slot.size, 1), slot.taps)
        for slot, w in zip(slots, wanted, strict=True)
    )


def _erk_density(slots: Sequence[Slot], sparsity: float) -> Array:
    """Return densities that sum to the budget, none above 1."""
    sizes = np.array([slot.size * slot.unit for slot in slots], dtype=np.float64)
    raw = np.array([_erk_score(slot) for slot in slots])
    full = np.zeros(len(slots), dtype=bool)
    budget = (1 - sparsity) * sizes.sum()
    while True:
        left = budget - sizes[full].sum()
        share = float((raw * sizes)[~full].sum())
        factor = left / share if share else 0.0
        over = ~full & (raw * factor > 1)
        if not over.any():
            density: Array = np.where(full, 1.0, raw * factor)
            return density
        full |= over


def _erk_score(slot: Slot) -> float:
    groups, rows, columns = slot.shape
    inputs = columns // slot.taps
    dims = (groups * rows, inputs, *slot.kernel)
    return sum(dims) / float(np.prod(dims))


def _round_to_total(wanted: Array, total: int) -> Array:
    """Round to integers that sum to `total`, the largest remainders up."""
    counts = np.floor(wanted).astype(int)
    missing = total - int(counts.sum())
    order = np.argsort(-(wanted - counts), kind="stable")
    counts[order[: max(missing, 0)]] += 1
    return counts
