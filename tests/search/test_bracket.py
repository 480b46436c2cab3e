"""A sparsity is bracketed in few runs, none of them made twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_lobs.search.bracket import FACTOR, RUNS, find_smallest, find_sparsest


@given(st.floats(0.06, 0.999))
def test_what_is_found_is_met_and_close_to_the_last_that_is(limit: float) -> None:
    tried: list[float] = []

    def meets(sparsity: float) -> bool:
        tried.append(sparsity)
        return sparsity <= limit

    found = find_sparsest(meets)
    assert len(tried) <= RUNS
    assert len(set(tried)) == len(tried)
    assert found == max((s for s in tried if s <= limit), default=None)
    if found is not None and found < max(tried):
        # until it is missed each run keeps FACTOR of the weights of the last; from then on each
        # halves the interval in the logarithm of what is kept
        first = next(place for place, sparsity in enumerate(tried) if sparsity > limit)
        left = FACTOR**0.5 ** (RUNS - 1 - first)
        assert (1 - limit) >= left * (1 - found) * (1 - 1e-9) or limit < 0.5
        assert len(tried) == RUNS


def test_a_target_that_nothing_meets_ends_the_search() -> None:
    tried: list[float] = []
    assert find_sparsest(lambda s: bool(tried.append(s))) is None
    assert len(tried) < RUNS


@given(st.floats(0.06, 0.99), st.floats(0.01, 0.98))
def test_what_a_model_has_already_is_the_least_that_is_tried(limit: float, least: float) -> None:
    tried: list[float] = []

    def meets(sparsity: float) -> bool:
        tried.append(sparsity)
        return sparsity <= limit

    found = find_sparsest(meets, least=least)
    assert min(tried) >= least
    assert len(set(tried)) == len(tried) <= RUNS
    assert found == max((s for s in tried if s <= limit), default=None)
    if limit >= least and found is None:  # only a limit that hardly anything meets
        assert limit < least + 0.05 or limit < 0.06


def test_where_nothing_sparser_will_do_the_model_as_it_is_is_tried_last() -> None:
    tried: list[float] = []
    assert find_sparsest(lambda s: tried.append(s) or s <= 0.7, least=0.7) == 0.7
    assert tried[-1] == 0.7
    assert len(tried) == RUNS


def test_a_size_is_looked_for_between_the_least_and_the_largest_sparsity() -> None:
    tried: list[float] = []

    def size_at(sparsity: float) -> int:
        tried.append(sparsity)
        return round(1000 * (1 - sparsity))

    find_smallest(900, size_at, lambda s: 1000 * (1 - s), most=0.9, least=0.3)
    assert tried == [0.3]


def test_a_search_stops_at_the_largest_sparsity_that_is_possible() -> None:
    tried: list[float] = []
    assert find_sparsest(lambda s: tried.append(s) or True, most=0.7) == 0.7
    assert tried == [0.5, 0.7]


@pytest.mark.parametrize("share", [0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.4, 0.2])
@pytest.mark.parametrize("bias", [-0.1, 0.0, 0.05, 0.1])
def test_a_size_in_bytes_is_found_where_sparse_storage_pays_late(share: float, bias: float) -> None:
    # float16: a weight takes 2 bytes dense, 5 with its index, so it pays from 60 % zeros on
    def size(s: float) -> float:
        return 1000 + min(2e6, 5e6 * (1 - s))

    limit = int(share * size(0))
    tried: list[float] = []

    def size_at(sparsity: float) -> int:
        tried.append(sparsity)
        return int(size(sparsity))

    find_smallest(limit, size_at, lambda s: size(s + bias), 0.999)
    assert len(set(tried)) == len(tried) <= RUNS
    best = min(s for s in tried if size(s) <= limit)
    # as close as is looked for, and a byte's rounding; where it falls elsewhere than expected, near
    assert size(best) > (0.9 if bias else 1 - 0.011) * limit


def test_a_limit_that_the_dense_file_keeps_takes_one_run_and_one_out_of_reach_a_few() -> None:
    tried: list[float] = []

    def size_at(sparsity: float) -> int:
        tried.append(sparsity)
        return int(1e6 * (1 - sparsity))

    find_smallest(2_000_000, size_at, size_at, 0.999)
    assert set(tried) == {0.0}
    tried.clear()
    find_smallest(10, lambda s: tried.append(s) or 1000, lambda s: 1000.0, 0.999)
    assert tried == [0.999]
