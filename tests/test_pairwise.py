"""The few combinations show all pairs, and only combinations that are possible."""

from __future__ import annotations

from itertools import product

import pytest
from pairwise import pairs_of, pairwise

GRIDS = {
    "equal": list(product(range(4), repeat=4)),
    "unequal": list(product(range(9), range(6), range(3), range(7), range(2))),
    "two columns": list(product("abc", (1, 2))),
    "values shared by columns": list(product((0, 1, 2), (0, 1, 2), (0, 1, 2))),
    "impossible ones": [r for r in product(range(5), range(4), range(3)) if r[0] >= r[1]],
    "one row": [(1, 2, 3)],
}
OVERHEAD = 1.5  # greedy choices over the least number that two columns alone ask for

every_grid = pytest.mark.parametrize("rows", GRIDS.values(), ids=list(GRIDS))


@every_grid
def test_every_pair_that_is_possible_is_chosen(rows):
    possible = set().union(*map(pairs_of, rows))
    assert set().union(*map(pairs_of, pairwise(rows))) == possible


@every_grid
def test_only_possible_rows_are_chosen_each_once_in_their_order(rows):
    chosen = pairwise(rows)
    assert [row for row in rows if row in set(chosen)] == chosen


@every_grid
def test_few_are_chosen(rows):
    columns = list(zip(*rows, strict=True))
    least = max(
        len(set(zip(a, b, strict=True))) for i, a in enumerate(columns) for b in columns[:i]
    )
    assert least <= len(pairwise(rows)) <= OVERHEAD * least


def test_the_same_rows_lead_to_the_same_choice():
    assert pairwise(GRIDS["unequal"]) == pairwise(list(GRIDS["unequal"]))


def test_a_row_that_shows_a_pair_alone_is_chosen():
    rows = [r for r in GRIDS["equal"] if r[:2] != (3, 3)] + [(3, 3, 0, 0)]
    assert (3, 3, 0, 0) in pairwise(rows)


def test_nothing_to_choose_from_is_no_choice():
    assert pairwise([]) == []
