"""Shares zeros out between layers by a rule that looks at shapes only: uniform or ERK.

To add a rule, write its function below, add its line to ``RULES``, and its name to those of
:mod:`onnx_lobs.options.what`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.allocation.share import rescale
from onnx_lobs.arrays import Array
from onnx_lobs.errors import ConfigError
from onnx_lobs.patterns import Pattern

ROUNDING = 1e-9  # of a sum over layers, beside a sparsity that is the same number
ROUNDED = 1e-6  # weights: a count that was computed in floating point
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
    present
        Zeros of the pattern that the weight has already. They stay, and count.
    """

    shape: tuple[int, int, int]
    kernel_size: int = 1
    kernel: tuple[int, ...] = ()
    fixed: float | None = None
    least: float = 0.0
    most: float = 1.0
    price: float = 1.0
    present: int = 0

    @property
    def size(self) -> int:
        """Number of weights."""
        groups, rows, columns = self.shape
        return groups * rows * columns

    @property
    def lowest(self) -> float:
        """Least sparsity that it can get: with the zeros that it has."""
        return max(self.least, self.present / max(self.size, 1))

    @property
    def highest(self) -> float:
        """Largest sparsity that it may get: never fewer zeros than it has."""
        return max(self.most, self.lowest)

    @property
    def own_zeros(self) -> float:
        """Zeros by a sparsity of its own, or those that it has where these are more."""
        return max(self.size * (self.fixed or 0.0), self.present)


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
        cost, exactly where the pattern and the prices let them. None gets fewer zeros than it has:
        what is more than its share, the others need not have.
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
    wanted = np.array([slot.own_zeros for slot in slots], dtype=np.float64)
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
    low = sizes * [1 - slot.highest for slot in slots]
    high = sizes * [1 - slot.lowest for slot in slots]
    return rescale(kept, low, high, prices, (1 - sparsity) * float(sizes @ prices))


def check_limits(slots: Sequence[Slot], sparsity: float) -> None:
    """Raise ConfigError when the layers' limits do not allow the sparsity of the run.

    Zeros that the layers have already, however many, are not what the user limits.

    Parameters
    ----------
    slots
        The layers; those with a sparsity of their own do not count.
    sparsity
        Fraction of the cost of the others that is to be saved.
    """
    least = limits([dataclasses.replace(slot, present=0) for slot in slots])[0]
    most = limits(slots)[1]
    if not least - ROUNDING <= sparsity <= most + ROUNDING:
        raise ConfigError(
            f"the limits of the layers allow a sparsity from {least:.4g} to {most:.4g}, and "
            f"{sparsity:g} is asked for; change --layer-min or --layer-max, or the sparsity"
        )


def limits(slots: Sequence[Slot]) -> tuple[float, float]:
    """Return the least and the largest fraction of the cost that the layers can save.

    By their limits, and by the zeros that they have.
    """
    free = [slot for slot in slots if slot.fixed is None]
    total = sum(slot.size * slot.price for slot in free)
    if total == 0:
        return 0.0, 1.0
    least = sum(slot.size * slot.price * slot.lowest for slot in free) / total
    most = sum(slot.size * slot.price * slot.highest for slot in free) / total
    return least, most


def to_counts(slots: Sequence[Slot], wanted: Array, pattern: Pattern) -> tuple[int, ...]:
    """Return the numbers of zeros, near the real numbers `wanted`, that the pattern can hold.

    Those of the layers without a fixed sparsity keep their sum, rounded where the pattern holds any
    count, and else as near as its pieces let them. No layer has fewer zeros than it has already.
    """
    free = [i for i, slot in enumerate(slots) if slot.fixed is None]
    total = round(float(wanted[free].sum()))
    if pattern.is_free and pattern.shares_rows:
        counts = np.floor(wanted + 0.5).astype(int)
        counts[free] = _round_to_total(wanted[free], total)
        return tuple(int(n) for n in counts)
    found = [_nearest(slot, float(w), pattern) for slot, w in zip(slots, wanted, strict=True)]
    if pattern.own_sparsity is None and pattern.tile is not None:
        _move_to_total(slots, found, wanted, free, total, pattern)
    return tuple(found)


def _nearest(slot: Slot, wanted: float, pattern: Pattern) -> int:
    """Return the feasible number of zeros nearest to the one wanted, and no fewer than present."""
    share = min(max(wanted, 0.0) / max(slot.size, 1), 1.0)
    return max(pattern.closest(slot.shape, share, slot.kernel_size), slot.present)


def _move_to_total(
    slots: Sequence[Slot],
    counts: list[int],
    wanted: Array,
    free: Sequence[int],
    total: int,
    pattern: Pattern,
) -> None:
    """Move counts by a tile, in place, the most rounded first, where their sum comes nearer."""
    missing = total - sum(counts[i] for i in free)
    way = 1 if missing > 0 else -1
    tile = math.prod(pattern.tile or (1, 1))
    for i in sorted(free, key=lambda i: way * (counts[i] - wanted[i])):
        slot = slots[i]
        if missing * way <= 0:
            break
        limit = slot.highest if way > 0 else slot.lowest
        moved = _nearest(slot, counts[i] + way * tile, pattern)
        is_allowed = way * (moved - limit * slot.size) <= ROUNDING * slot.size
        if is_allowed and abs(missing - (moved - counts[i])) < abs(missing):
            missing -= moved - counts[i]
            counts[i] = moved


def _round_to_total(wanted: Array, total: int) -> Array:
    """Round to integers that sum to `total`, the largest remainders up."""
    counts = np.floor(wanted + ROUNDED).astype(int)
    missing = total - int(counts.sum())
    order = np.argsort(-(wanted - counts), kind="stable")
    counts[order[: max(missing, 0)]] += 1
    return counts
