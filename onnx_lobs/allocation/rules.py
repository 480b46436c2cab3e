"""Shares zeros out between layers by a rule that looks at shapes only: uniform or ERK.

To add a rule, write its function below, add its line to ``RULES``, and its name to those of
:mod:`onnx_lobs.options.what`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.allocation.share import rescale
from onnx_lobs.arrays import Array
from onnx_lobs.errors import ConfigError
from onnx_lobs.patterns import Pattern

ROUNDING = 1e-9  # of a sum over layers, beside a sparsity that is the same number
ERK_FROM = 0.8  # measured: uniform has the lower output error at 50 %, erk at 90 % and above


@dataclass(frozen=True)
class Slot:
    """A layer as the allocation sees it.

    Parameters
    ----------
    shape
        (groups, rows, columns).
    kernel_size
        Kernel positions per input channel.
    kernel
        Kernel sizes, empty for matrices.
    fixed
        Sparsity that the user gave this layer, or None.
    least, most
        Sparsities between which that of this layer has to be, if it is not fixed.
    price
        What one weight costs of the budget: 1, bytes, or multiplications per sample.
    """

    shape: tuple[int, int, int]
    kernel_size: int = 1
    kernel: tuple[int, ...] = ()
    fixed: float | None = None
    least: float = 0.0
    most: float = 1.0
    price: float = 1.0

    @property
    def size(self) -> int:
        """Number of weights."""
        groups, rows, columns = self.shape
        return groups * rows * columns


def uniform_density(slot: Slot) -> float:
    """Return the same for every layer: all have the same sparsity."""
    return 1.0


def erk_density(slot: Slot) -> float:
    """Return the sum over the product of the weight's dimensions: small layers stay denser.

    Erdős-Rényi-Kernel: Mocanu et al. 2018, Evci et al. 2020.
    """
    groups, rows, columns = slot.shape
    inputs = columns // slot.kernel_size
    dims = (groups * rows, inputs, *slot.kernel)
    return sum(dims) / float(np.prod(dims))


RULES: Mapping[str, Callable[[Slot], float]] = {"uniform": uniform_density, "erk": erk_density}
"""what each rule has the density of a layer proportional to"""


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
        cost, exactly where the pattern and the prices let them.
    sparsity
        Fraction of the cost of all weights that is saved, in [0, 1).
    rule
        A name in ``RULES``: the shares that layers keep are proportional to what it gives, within
        the layers' limits.
    pattern
        Where zeros may stand.

    Raises
    ------
    ConfigError
        When the rule is unknown.
    """
    free = [i for i, slot in enumerate(slots) if slot.fixed is None]
    wanted = np.array([slot.size * (slot.fixed or 0.0) for slot in slots])
    if rule not in RULES:
        raise ConfigError(f"allocation {rule!r} is unknown; choose {' or '.join(RULES)}")
    sizes = np.array([slots[i].size for i in free], dtype=np.float64)
    density = [RULES[rule](slots[i]) for i in free]
    wanted[free] = sizes - keep([slots[i] for i in free], sizes * density, sparsity)
    return to_counts(slots, wanted, pattern)


def keep(slots: Sequence[Slot], kept: Array, sparsity: float) -> Array:
    """Return weights kept per layer, proportional to `kept` within the layers' limits.

    They cost the fraction 1 - `sparsity` of what all weights do, as far as the limits allow.
    """
    sizes = np.array([slot.size for slot in slots], dtype=np.float64)
    prices = np.array([slot.price for slot in slots])
    low = sizes * [1 - slot.most for slot in slots]
    high = sizes * [1 - slot.least for slot in slots]
    return rescale(kept, low, high, prices, (1 - sparsity) * float(sizes @ prices))


def check_limits(slots: Sequence[Slot], sparsity: float) -> None:
    """Raise ConfigError when the layers' limits do not allow the sparsity of the run.

    Parameters
    ----------
    slots
        The layers; those with a sparsity of their own do not count.
    sparsity
        Fraction of the cost of the others that is to be saved.
    """
    least, most = limits(slots)
    if not least - ROUNDING <= sparsity <= most + ROUNDING:
        raise ConfigError(
            f"the limits of the layers allow a sparsity from {least:.4g} to {most:.4g}, and "
            f"{sparsity:g} is asked for; change --layer-min or --layer-max, or the sparsity"
        )


def limits(slots: Sequence[Slot]) -> tuple[float, float]:
    """Return the least and the largest fraction of the cost that the layers' limits can save."""
    free = [slot for slot in slots if slot.fixed is None]
    total = sum(slot.size * slot.price for slot in free)
    if total == 0:
        return 0.0, 1.0
    least = sum(slot.size * slot.price * slot.least for slot in free) / total
    most = sum(slot.size * slot.price * slot.most for slot in free) / total
    return least, most


def to_counts(slots: Sequence[Slot], wanted: Array, pattern: Pattern) -> tuple[int, ...]:
    """Return the numbers of zeros, near the real numbers `wanted`, that the pattern can hold.

    Where the pattern holds any count, those of the layers without a fixed sparsity keep their sum,
    rounded.
    """
    if pattern.is_free and pattern.shares_rows:
        free = [i for i, slot in enumerate(slots) if slot.fixed is None]
        counts = np.floor(wanted + 0.5).astype(int)
        counts[free] = _round_to_total(wanted[free], round(float(wanted[free].sum())))
        return tuple(int(n) for n in counts)
    return tuple(
        pattern.closest(slot.shape, float(w) / max(slot.size, 1), slot.kernel_size)
        for slot, w in zip(slots, wanted, strict=True)
    )


def _round_to_total(wanted: Array, total: int) -> Array:
    """Round to integers that sum to `total`, the largest remainders up."""
    counts = np.floor(wanted).astype(int)
    missing = total - int(counts.sum())
    order = np.argsort(-(wanted - counts), kind="stable")
    counts[order[: max(missing, 0)]] += 1
    return counts
