"""Budgets: exact totals, ERK densities, fixed layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_lobs.allocation.rules import (
    ERK_FROM,
    RULES,
    Slot,
    allocate,
    check_limits,
    default_rule,
    limits,
)
from onnx_lobs.errors import ConfigError
from onnx_lobs.patterns import NM, Block, Pattern, Unstructured

LENET = [Slot((1, 300, 784)), Slot((1, 100, 300)), Slot((1, 10, 100))]


@pytest.mark.parametrize("rule", ["uniform", "erk"])
@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.333, 0.5, 0.93, 0.999])
def test_zeros_add_up_to_the_sparsity_exactly(rule: str, sparsity: float) -> None:
    zeros = allocate(LENET, sparsity, rule, Unstructured())
    total = sum(slot.size for slot in LENET)
    assert sum(zeros) == round(sparsity * total)
    assert all(0 <= n <= slot.size for n, slot in zip(zeros, LENET, strict=True))


def test_uniform_gives_every_layer_the_same_sparsity_up_to_rounding() -> None:
    zeros = allocate(LENET, 0.7, "uniform", Unstructured())
    for n, slot in zip(zeros, LENET, strict=True):
        assert abs(n - 0.7 * slot.size) <= 1


def test_erk_densities_are_proportional_to_sum_over_product_where_below_one() -> None:
    slots = [Slot((1, 300, 784)), Slot((1, 200, 300))]
    zeros = allocate(slots, 0.9, "erk", Unstructured())
    density = [1 - n / slot.size for n, slot in zip(zeros, slots, strict=True)]
    expected = (1084 / (300 * 784)) / (500 / (200 * 300))
    # one weight of rounding in 235,200
    assert density[0] / density[1] == pytest.approx(expected, rel=1e-3)


def test_erk_counts_kernel_sizes_of_a_convolution() -> None:
    conv = Slot((1, 50, 500), kernel_size=25, kernel=(5, 5))
    zeros = allocate([conv, Slot((1, 500, 800))], 0.9, "erk", Unstructured())
    density = 1 - np.array(zeros) / [25000, 400000]
    expected = ((50 + 20 + 5 + 5) / 25000) / (1300 / 400000)
    assert density[0] / density[1] == pytest.approx(expected, rel=1e-3)


def test_erk_leaves_a_small_layer_dense_and_the_rest_exact() -> None:
    zeros = allocate(LENET, 0.93, "erk", Unstructured())
    assert zeros[2] == 0


@pytest.mark.parametrize(("sparsity", "rule"), [(ERK_FROM, "uniform"), (0.9, "erk")])
def test_without_measurement_zeros_are_uniform_up_to_a_limit_and_erk_above(
    sparsity: float, rule: str
) -> None:
    assert default_rule(sparsity) == rule


@pytest.mark.parametrize("rule", ["uniform", "erk"])
def test_zeros_save_the_share_of_a_cost_that_differs_between_layers(rule: str) -> None:
    slots = [Slot((1, 40, 90), price=100.0), Slot((1, 100, 300)), Slot((1, 50, 100), price=7.0)]
    zeros = allocate(slots, 0.7, rule, Unstructured())
    saved = sum(n * slot.price for n, slot in zip(zeros, slots, strict=True))
    total = sum(slot.size * slot.price for slot in slots)
    # one weight of each layer may be rounded
    assert saved == pytest.approx(0.7 * total, abs=sum(slot.price for slot in slots))


def test_a_fixed_layer_gets_its_own_sparsity_and_the_others_theirs() -> None:
    slots = [LENET[0], Slot((1, 100, 300), fixed=0.25), LENET[2]]
    zeros = allocate(slots, 0.5, "uniform", Unstructured())
    assert zeros[1] == 7500
    assert zeros[0] + zeros[2] == round(0.5 * (235200 + 1000))


@pytest.mark.parametrize("rule", ["uniform", "erk"])
def test_layers_stay_within_their_limits_and_the_others_take_the_rest(rule: str) -> None:
    slots = [replace(LENET[0], most=0.6), replace(LENET[1], least=0.95), LENET[2]]
    zeros = allocate(slots, 0.6, rule, Unstructured())
    assert zeros[0] <= 0.6 * LENET[0].size
    assert zeros[1] >= 0.95 * LENET[1].size
    assert sum(zeros) == round(0.6 * sum(slot.size for slot in LENET))


@pytest.mark.parametrize("sparsity", [0.05, 0.96])
def test_a_sparsity_that_the_limits_do_not_allow_is_refused(sparsity: float) -> None:
    slots = [replace(slot, least=0.1, most=0.9) for slot in LENET]
    check_limits(slots, 0.5)
    with pytest.raises(ConfigError, match=r"allow a sparsity from 0.1 to 0.9, and 0.\d+ is asked"):
        check_limits(slots, sparsity)


def test_limits_of_a_fixed_layer_do_not_count() -> None:
    slots = [replace(LENET[0], fixed=0.2, most=0.0), LENET[1]]
    assert limits(slots) == (0.0, 1.0)


def test_a_pattern_gets_counts_that_it_can_hold() -> None:
    assert allocate(LENET, 0.5, "uniform", NM(2, 4)) == (117600, 15000, 500)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ConfigError, match="'magic' is unknown; choose uniform or erk"):
        allocate(LENET, 0.5, "magic", Unstructured())


@pytest.mark.parametrize(("sizes", "share"), [([288], 0.9), ([384, 4704, 768], 0.7)])
def test_a_limit_that_is_the_sparsity_is_kept_whatever_rounding_does(
    sizes: list[int], share: float
) -> None:
    check_limits([Slot((1, 1, size), most=share) for size in sizes], share)
    check_limits([Slot((1, 1, size), least=share) for size in sizes], share)


def test_limits_of_random_layers_are_themselves_allowed() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        share = round(float(rng.random()), 2)
        slots = [Slot((1, 1, int(n)), least=share, most=share) for n in rng.integers(1, 9999, 5)]
        check_limits(slots, share)


def test_a_rule_that_is_added_shares_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_rows(slot: Slot) -> float:
        return float(slot.shape[1])

    monkeypatch.setitem(cast("dict[str, Callable[[Slot], float]]", RULES), "rows", by_rows)
    slots = [Slot((1, 10, 100)), Slot((1, 20, 50))]
    zeros = allocate(slots, 0.7, "rows", Unstructured())
    assert [1000 - n for n in zeros] == [200, 400]


SLOTS = st.lists(
    st.builds(
        lambda rows, columns, share: Slot((1, rows, columns), present=int(share * rows * columns)),
        st.integers(1, 40), st.integers(1, 40), st.one_of(st.just(0.0), st.floats(0, 1)),
    ),
    min_size=1, max_size=6,
)  # fmt: skip
RULE = st.sampled_from(sorted(RULES))


@given(SLOTS, st.floats(0, 0.999), RULE)
def test_zeros_that_are_there_count_and_the_total_is_exact(
    slots: list[Slot], sparsity: float, rule: str
) -> None:
    zeros = allocate(slots, sparsity, rule, Unstructured())
    total, present = sum(s.size for s in slots), sum(s.present for s in slots)
    # the nearest integer; beside a half, either, as shares are sums in float64
    assert abs(sum(zeros) - max(sparsity * total, present)) <= 0.5 + 1e-9 * total
    assert all(s.present <= n <= s.size for n, s in zip(zeros, slots, strict=True))


@given(SLOTS, RULE)
def test_a_model_that_is_as_sparse_as_asked_keeps_every_count(slots: list[Slot], rule: str) -> None:
    present = tuple(slot.present for slot in slots)
    share = sum(present) / sum(slot.size for slot in slots)
    assert allocate(slots, share, rule, Unstructured()) == present
    assert allocate(slots, share / 2, rule, Unstructured()) == present


def test_a_layer_that_is_sparser_than_its_share_gives_the_surplus_to_the_others() -> None:
    slots = [Slot((1, 10, 100), present=900), Slot((1, 10, 100)), Slot((1, 20, 100), present=3)]
    assert allocate(slots, 0.5, "uniform", Unstructured()) == (900, 367, 733)


def test_a_given_sparsity_below_the_zeros_of_a_layer_leaves_them() -> None:
    slots = [Slot((1, 10, 100), present=900, fixed=0.5), Slot((1, 10, 100), fixed=0.25)]
    assert allocate(slots, 0.5, "uniform", Unstructured()) == (900, 250)


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=6),
    st.floats(0, 1), RULE, st.sampled_from([Block(1, 4), Block(4, 1), Block(3, 5)]),
    st.booleans(),
)  # fmt: skip
def test_whole_blocks_come_as_near_to_the_total_as_one_more_or_less_of_them(
    shapes: list[tuple[int, int]], sparsity: float, rule: str, pattern: Pattern, has_zeros: bool
) -> None:
    slots = [Slot((1, *shape)) for shape in shapes]
    if has_zeros:
        slots[0] = replace(slots[0], present=pattern.closest(slots[0].shape, 0.9))
    zeros = allocate(slots, sparsity, rule, pattern)
    wanted = max(sparsity * sum(s.size for s in slots), sum(s.present for s in slots))
    tile = pattern.tile
    assert tile is not None
    assert abs(sum(zeros) - wanted) <= tile[0] * tile[1]
    for n, slot in zip(zeros, slots, strict=True):
        assert slot.present <= n == pattern.closest(slot.shape, n / slot.size)


def test_zeros_that_are_there_are_no_limit_that_the_user_set() -> None:
    slots = [Slot((1, 10, 10), present=90, most=0.5), Slot((1, 10, 10), least=0.1)]
    check_limits(slots, 0.2)
    assert limits(slots) == pytest.approx((0.5, 0.95))
    assert allocate(slots, 0.2, "uniform", Unstructured()) == (90, 10)
    with pytest.raises(ConfigError, match=r"allow a sparsity from 0\.05"):
        check_limits(slots, 0.04)
