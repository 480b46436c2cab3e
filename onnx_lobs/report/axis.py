"""Places numbers along the axis of a plot, on an even or a logarithmic scale, and its ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)  # distances of ticks that are easy to read, times 10 ** k
_MOST_TICKS = 6
_HALF_OF_ONE_VALUE = 0.5  # so much of it, an axis shows on each side of a single value


@dataclass(frozen=True)
class Axis:
    """The range of an axis and the values that it names, smallest first."""

    low: float
    high: float
    ticks: tuple[float, ...]
    is_log: bool = False

    def can_show(self, value: float) -> bool:
        """Whether a value has a place: it is finite, and positive on a logarithmic scale."""
        return math.isfinite(value) and (value > 0 or not self.is_log)

    def at(self, value: float) -> float:
        """Return where a value stands: 0 at the low end, 1 at the high end."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def even_axis(values: Iterable[float], *, from_zero: bool = False) -> Axis:
    """Return an axis with even steps around values.

    Parameters
    ----------
    values
        What it shows; those that are not finite are passed over.
    from_zero
        Whether it has to hold 0, as the axis of bars does.

    Examples
    --------
    >>> even_axis([0.5, 0.9]).ticks
    (0.5, 0.6, 0.7, 0.8, 0.9)
    """
    shown = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    if from_zero:
        shown.append(0.0)
    low, high = min(shown), max(shown)
    if low == high:
        spread = _HALF_OF_ONE_VALUE * abs(low) or 1.0
        low, high = low - spread, high + spread
    step = _step((high - low) / (_MOST_TICKS - 1))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(_tidy(i * step) for i in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks)


def log_axis(values: Iterable[float]) -> Axis:
    """Return an axis in powers of ten around the positive ones of values.

    >>> log_axis([0.003, 0.5]).ticks
    (0.001, 0.01, 0.1, 1.0)
    """
    shown = [value for value in values if math.isfinite(value) and value > 0] or [1.0]
    first = math.floor(math.log10(min(shown)) + 1e-9)
    last = max(math.ceil(math.log10(max(shown)) - 1e-9), first + 1)
    stride = -(-(last - first) // _MOST_TICKS)
    last = first + stride * -(-(last - first) // stride)
    ticks = tuple(float(f"1e{power}") for power in range(first, last + 1, stride))
    return Axis(ticks[0], ticks[-1], ticks, is_log=True)


def _step(least: float) -> float:
    """Return the smallest easy distance that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9))


def _tidy(value: float) -> float:
    """Return a value without the last digits that a product leaves."""
    return float(f"{value:.12g}")
