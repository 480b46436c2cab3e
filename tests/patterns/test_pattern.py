"""Patterns: exact counts, allowed structure, lowest scores first."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_lobs.errors import ConfigError, InfeasibleError
from onnx_lobs.patterns import NM, Block, Pattern, Unstructured, parse_pattern

ROUNDING = 1e-12  # sums of a few scores of order 1 in float64

PATTERNS = st.one_of(
    st.builds(Unstructured, st.booleans()),
    st.integers(2, 9).flatmap(lambda of: st.builds(NM, st.integers(1, of - 1), st.just(of))),
    st.builds(Block, st.integers(1, 5), st.integers(1, 5)),
)


@settings(max_examples=300, deadline=None)
@given(
    pattern=PATTERNS,
    groups=st.integers(1, 3),
    rows=st.integers(0, 7),
    channels=st.integers(1, 9),
    kernel_size=st.integers(1, 3),
    sparsity=st.floats(0, 1),
    levels=st.integers(1, 5),
)
def test_selection_obeys_pattern_with_exact_count(
    pattern, groups, rows, channels, kernel_size, sparsity, levels
):
    shape = (groups, rows, channels * kernel_size)
    scores = np.random.default_rng(0).integers(levels, size=shape).astype(np.float64)
    n_prune = pattern.closest(shape, sparsity, kernel_size)
    before = scores.copy()
    mask = pattern.select(scores, n_prune, kernel_size)
    assert mask.shape == shape
    assert mask.dtype == np.bool_
    assert np.count_nonzero(~mask) == n_prune
    assert pattern.obeys(mask, kernel_size)
    assert np.array_equal(scores, before)


@given(pattern=st.one_of(st.just(Unstructured()), PATTERNS))
def test_text_of_a_pattern_parses_back(pattern):
    expected = Unstructured() if isinstance(pattern, Unstructured) else pattern
    assert parse_pattern(str(pattern)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "2:", "4:4", "0:4", "5:4", "0x1", "4x", "2:4:8", "-1:4", "2.0:4", "channelz", "²:4"],
)
def test_text_that_names_no_pattern_is_refused(text):
    with pytest.raises(ConfigError, match="pattern"):
        parse_pattern(text)


def test_unstructured_takes_the_lowest_over_all_groups():
    scores = np.array([[[5.0, 1.0], [4.0, 8.0]], [[2.0, 7.0], [3.0, 6.0]]])
    mask = Unstructured().select(scores, 3)
    assert sorted(scores[~mask]) == [1, 2, 3]


def test_equal_rows_takes_the_lowest_of_each_row():
    scores = np.array([[[1.0, 2.0, 3.0], [7.0, 9.0, 8.0]]])
    mask = Unstructured(equal_rows=True).select(scores, 4)
    assert mask.tolist() == [[[False, False, True], [False, True, False]]]


def test_equal_rows_refuses_a_count_that_rows_do_not_share():
    with pytest.raises(InfeasibleError, match="shared equally by 2 rows; take 2"):
        Unstructured(equal_rows=True).select(np.ones((1, 2, 3)), 3)


def test_n_m_groups_run_along_channels_at_one_tap():
    # 4 channels x 2 kernel_size, position fastest: columns 0, 2, 4, 6 are position 0
    scores = np.array([[[1.0, 9.0, 2.0, 8.0, 3.0, 7.0, 4.0, 6.0]]])
    mask = NM(2, 4).select(scores, 4, kernel_size=2)
    assert np.flatnonzero(~mask).tolist() == [0, 2, 5, 7]


@pytest.mark.parametrize(("channels", "kept"), [(4, 2), (5, 3), (6, 3), (7, 4), (3, 2), (1, 1)])
def test_n_m_short_last_group_keeps_its_share_rounded_up(channels, kept):
    mask = NM(2, 4).select(np.arange(channels, dtype=float)[None, None], channels - kept)
    assert mask.sum() == kept


def test_n_m_has_one_count():
    with pytest.raises(InfeasibleError, match=r"exactly 4 zeros in \(1, 1, 8\), not 5"):
        NM(2, 4).select(np.ones((1, 1, 8)), 5)


def test_long_n_m_groups_take_the_lowest():
    scores = np.random.default_rng(1).random((1, 2, 64))
    mask = NM(8, 32).select(scores, 96)
    units = np.sort(scores.reshape(4, 32), axis=1)
    assert np.allclose(np.sort(scores[~mask]), np.sort(units[:, :24].ravel()))


@pytest.mark.parametrize("n_prune", [-1, 7])
@pytest.mark.parametrize("pattern", [Unstructured(), Block(1, 2)])
def test_count_out_of_range_is_refused(pattern: Pattern, n_prune: int):
    with pytest.raises(InfeasibleError, match=f"n_prune is {n_prune}; it must be between 0 and 6"):
        pattern.select(np.ones((1, 1, 6)), n_prune)


@pytest.mark.parametrize("pattern", [Unstructured(), Unstructured(True), Block(2, 2)])
@pytest.mark.parametrize("sparsity", [-0.1, 1.1, float("nan")])
def test_sparsity_out_of_range_is_refused(pattern: Pattern, sparsity: float):
    with pytest.raises(InfeasibleError, match="between 0 and 1"):
        pattern.closest((1, 2, 2), sparsity)


@pytest.mark.parametrize("pattern", [NM(2, 4), Block(2, 2)])
def test_taps_that_do_not_divide_the_columns_are_refused(pattern: Pattern):
    with pytest.raises(InfeasibleError, match="4 kernel position do not divide 6 columns"):
        pattern.closest((1, 2, 6), 0.5, kernel_size=4)


def test_block_that_cannot_hold_the_count_is_refused():
    with pytest.raises(InfeasibleError, match="4x1 cannot hold exactly 3 zeros"):
        Block(4, 1).select(np.ones((1, 8, 3)), 3)


def test_blocks_stand_at_one_tap():
    scores = np.ones((1, 1, 8))
    scores[0, 0, [1, 3]] = 0.0  # position 1 of channels 0 and 1
    mask = Block(1, 2).select(scores, 2, kernel_size=2)
    assert np.flatnonzero(~mask).tolist() == [1, 3]


@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (5, 4), (3, 5), (5, 5)])
def test_ragged_blocks_have_the_lowest_total_score(rows: int, columns: int):
    pattern = Block(2, 2)
    scores = np.random.default_rng(2).random((1, rows, columns))
    blocks = pattern.sum_blocks(scores).ravel()
    sizes = pattern.sum_blocks(np.ones_like(scores)).ravel()
    n_prune = pattern.closest((1, rows, columns), 0.5)
    subsets = itertools.chain.from_iterable(
        itertools.combinations(range(len(blocks)), k) for k in range(len(blocks) + 1)
    )
    best = min(blocks[list(s)].sum() for s in subsets if sizes[list(s)].sum() == n_prune)
    mask = pattern.select(scores, n_prune)
    assert scores[~mask].sum() == pytest.approx(best, abs=ROUNDING)


@pytest.mark.parametrize(("channels", "kernel_size"), [(8, 1), (7, 2), (3, 3)])
def test_windows_are_those_of_the_selection(channels: int, kernel_size: int):
    pattern = NM(2, 4)
    quota = pattern.quota(channels * kernel_size, kernel_size)
    scores = np.random.default_rng(3).random((1, 2, channels * kernel_size))
    n_prune = pattern.closest(scores.shape, 0.5, kernel_size)
    mask = pattern.select(scores, n_prune, kernel_size)
    for row in mask[0]:
        assert np.array_equal(
            np.bincount(quota.window, ~row, minlength=quota.zeros.size), quota.zeros
        )


@settings(max_examples=300, deadline=None)
@given(
    pattern=PATTERNS,
    groups=st.integers(1, 2),
    rows=st.integers(1, 6),
    channels=st.integers(1, 8),
    kernel_size=st.integers(1, 2),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_present_zeros_are_the_most_that_need_no_other_weight_to_go(
    pattern, groups, rows, channels, kernel_size, share, seed
):
    """The next count that is feasible, of all that are, takes a weight that is not zero."""
    shape = (groups, rows, channels * kernel_size)
    rng = np.random.default_rng(seed)
    zeros = rng.random(shape) < share
    if seed % 2:  # zeros of the pattern, and others beside
        n_prune = pattern.closest(shape, share, kernel_size)
        zeros = ~pattern.select(rng.random(shape), n_prune, kernel_size)
        zeros |= rng.random(shape) < 0.1
    feasible = sorted(
        {pattern.closest(shape, n / zeros.size, kernel_size) for n in range(zeros.size + 1)}
    )
    present = pattern.n_present(zeros, kernel_size)

    def n_others(count: int) -> int:
        mask = pattern.select((~zeros).astype(np.float64), count, kernel_size)
        return int((~mask & ~zeros).sum())

    if present:
        assert present in feasible
        assert n_others(present) == 0
    more = next((count for count in feasible if count > present), None)
    assert more is None or n_others(more) > 0
