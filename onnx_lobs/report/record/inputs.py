"""Holds the range of an input's values in the first batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_MOST = 3  # inputs that a line names


@dataclass(frozen=True)
class InputRange:
    """One input in the first batch: shape, least, greatest and mean value."""

    name: str
    shape: tuple[int, ...]
    low: float
    high: float
    mean: float


def range_words(data: str, ranges: Sequence[InputRange]) -> str:
    """Return where data come from, with the ranges of the first inputs.

    >>> range_words("a.npz", [InputRange("x", (2, 3), -1.0, 1.0, 0.125)])
    'a.npz, x from -1 to 1, mean 0.125'
    """
    parts = [f"{r.name} from {r.low:.3g} to {r.high:.3g}, mean {r.mean:.3g}" for r in ranges]
    return ", ".join([data, *parts[:_MOST]])
