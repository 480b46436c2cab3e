"""Brackets a sparsity by a few runs: the sparsest that meets a target, or the least that is small.

The share of weights kept is searched on a logarithmic scale: first by steps that keep 0.4 of what
was kept before, until the target is missed, then by halving the interval in between. A target that
is missed at the start is approached from the other side.
"""

from __future__ import annotations

import math
from collections.abc import Callable

FIRST = 0.5
FACTOR = 0.4  # of the weights kept, from one step to the next sparser one
LEAST = 0.05  # sparsity below which pruning is not worth its name
MOST = 0.999  # sparsity beyond which nothing is looked for
RUNS = 6  # seven took up to 6.2 times as long as one run, measured with all that is shared
CLOSE = 0.01  # of the limit in bytes: closer is not looked for


def find_sparsest(
    meets: Callable[[float], bool],
    runs: int = RUNS,
    most: float = MOST,
    least: float = 0.0,
    goes_on: Callable[[], bool] = lambda: True,
) -> float | None:
    """Return the largest sparsity tried that meets a target, or None.

    Parameters
    ----------
    meets
        Runs at a sparsity in (0, 1) and says whether the target is met; called at most `runs`
        times, never twice with one value.
    runs
        At least 1.
    most, least
        Largest and least sparsity that are possible. Where no sparser one meets the target, the
        last that is tried is the least, if that is above 0: the model as it is.
    goes_on
        Asked before each run but the first; False ends the search.

    Notes
    -----
    The target is taken to be met up to some sparsity and missed above it.

    >>> tried = []
    >>> round(find_sparsest(lambda s: tried.append(s) or s < 0.85), 3)
    0.841
    >>> [round(s, 2) for s in tried]
    [0.5, 0.8, 0.92, 0.87, 0.84, 0.86]
    """
    sparsest: float | None = None
    low, high = least, 1.0  # met, as far as is known, and missed
    wanted = min(FIRST if least < FIRST else _between(least, 1.0), most)
    for left in range(runs, 0, -1):
        if left < runs and not goes_on():
            break
        if left == 1 and sparsest is None and least > 0:
            wanted = least
        if meets(wanted):
            sparsest = low = wanted
            if wanted == most:
                break
        else:
            high = wanted
        if high < LEAST or high <= least:
            break
        wanted = min(_between(low, high), most)
    return sparsest


def find_smallest(
    limit: int,
    size_at: Callable[[float], int],
    expected: Callable[[float], float],
    most: float,
    least: float = 0.0,
    goes_on: Callable[[], bool] = lambda: True,
) -> None:
    """Approach a size in bytes from above and below.

    Parameters
    ----------
    limit
        The size that is allowed.
    size_at
        Runs at a sparsity and returns the size; called at most `RUNS` times, never twice with
        one value.
    expected
        About that size; how far it was from the last one found is put right in the next guess.
    most, least
        Largest and least sparsity that are possible.
    goes_on
        Asked before each run but the first; False ends the search.
    """
    low, high = least, 1.0  # too large, as far as is known, and small enough
    aim, misses = limit * (1 - CLOSE / 2), 0
    wanted = max(_solve(expected, aim, most), least)
    for turn in range(RUNS):
        if turn and not goes_on():
            return
        size = size_at(wanted)
        if size > limit:
            low = wanted
        else:
            high = wanted
        if (1 - CLOSE) * limit <= size <= limit or wanted == (most if size > limit else least):
            return
        misses = misses + 1 if size > limit else 0
        wanted = _solve(expected, aim - (size - expected(wanted)), most)
        if misses > 1 and high == 1.0:  # the size falls later than it is expected to
            wanted = max(wanted, _between(low, high))
        elif not low < wanted < high:
            wanted = _between(low, high)
        wanted = max(min(wanted, most), least)


def _solve(size: Callable[[float], float], aim: float, most: float) -> float:
    """Return the least sparsity up to `most` at which a size that falls is no more than `aim`."""
    if size(0.0) <= aim:
        return 0.0
    low, high = 0.0, most
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if size(middle) > aim else (low, middle)
    return high


def _between(low: float, high: float) -> float:
    """Return the next sparsity to try between one that is met and one that is missed."""
    if high == 1.0:
        return 1 - FACTOR * (1 - low)
    if low == 0.0:
        return high / 2
    return 1 - math.sqrt((1 - low) * (1 - high))
