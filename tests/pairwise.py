"""Choose few of many combinations such that any two values that can meet still do.

Most defects that show only in a combination of settings need no more than two of them (Kuhn,
Wallace, Gallo, "Software fault interactions and implications for software testing", 2004), so a
grid keeps its worth when every pair of values occurs in it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import combinations

import numpy as np


def pairs_of(row: Sequence[Hashable]) -> set[tuple[int, Hashable, int, Hashable]]:
    """Return which value stands in which column, for any two columns of a row."""
    return {(i, a, j, b) for (i, a), (j, b) in combinations(enumerate(row), 2)}


def pairwise(rows: Iterable[tuple[Hashable, ...]]) -> list[tuple[Hashable, ...]]:
    """Choose rows until every pair of values that occurs in some row occurs in a chosen one.

    Each choice is the row that shows most pairs not shown yet, the first of equals, so the same
    rows lead to the same choice. What cannot be combined is left out of `rows`.

    Parameters
    ----------
    rows
        All combinations that are possible, of equal length.

    Returns
    -------
    list of tuple
        Chosen rows, in the order of `rows`. They are few, though not always the fewest.

    >>> pairwise([(a, b, c) for a in "xy" for b in "12" for c in (True, False)])
    [('x', '1', True), ('x', '2', False), ('y', '1', False), ('y', '2', True)]
    """
    every = list(rows)
    number: dict[tuple[int, Hashable, int, Hashable], int] = {}
    shown = np.array([[number.setdefault(p, len(number)) for p in pairs_of(r)] for r in every])
    missing = np.ones(len(number), dtype=bool)
    chosen = []
    while missing.any():
        best = int(missing[shown].sum(axis=1).argmax())
        chosen.append(best)
        missing[shown[best]] = False
    return [every[i] for i in sorted(chosen)]
