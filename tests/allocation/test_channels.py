"""Channels are shared so that the budget is met, at the least loss that brute force finds."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from onnx_lobs.allocation.channel_costs import ChannelCosts
from onnx_lobs.allocation.channels import GroupSlot, share_channels
from onnx_lobs.errors import ConfigError

# three layers in a row: 8 inputs, then groups of 6, 4 and 5 channels; the last has 3 outputs
SIZES = (6, 4, 5)
COSTS = ChannelCosts(
    base=np.array([8 * 6, 6 * 4, 4 * 5, 5 * 3], float),
    part=np.array([0, 1, 1, 2, 2, 3]),
    sizes=np.array([6, 6, 4, 4, 5, 5], float),
    taken=np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]], float),
)


def slots_of(seed: int, align: int = 1) -> list[GroupSlot]:
    rng = np.random.default_rng(seed)
    curves = (np.cumsum(np.sort(rng.exponential(size=n))) for n in SIZES)
    return [GroupSlot(np.concatenate([[0.0], curve]), align) for curve in curves]


def loss(slots: list[GroupSlot], counts: np.ndarray) -> float:
    return sum(float(slot.loss[count]) for slot, count in zip(slots, counts, strict=True))


def test_what_is_left_is_the_product_of_the_axes() -> None:
    counts = np.array([2, 1, 3])
    kept = np.array(SIZES) - counts
    expected = 8 * kept[0] + kept[0] * kept[1] + kept[1] * kept[2] + kept[2] * 3
    assert COSTS.left(counts) == pytest.approx(expected)


def test_of_several_choices_the_same_is_left_as_of_each() -> None:
    choices = np.array([[1, 2, 0], [0, 0, 0], [5, 3, 4]])
    assert COSTS.each_left(choices) == pytest.approx([COSTS.left(each) for each in choices])


def test_curves_of_the_shares_themselves_change_nothing() -> None:
    curves = np.repeat(np.linspace(0, 1, 31)[None], len(COSTS.part), axis=0)
    same = dataclasses.replace(COSTS, curves=curves)
    for counts in itertools.product(range(4), range(3), range(4)):
        assert same.left(np.array(counts)) == pytest.approx(COSTS.left(np.array(counts)))


def test_a_group_whose_next_step_saves_nothing_is_not_stuck() -> None:
    # only when half of the first is gone does its layer become faster
    share = np.linspace(0, 1, 7)
    curves = np.stack([np.where(share <= 0.5, 0.1, 1.0), share])
    costs = ChannelCosts(np.ones(2), np.arange(2), np.full(2, 6.0), np.eye(2), curves)
    slot = GroupSlot(np.arange(7.0) ** 2)
    assert share_channels([slot, slot], costs, 0.4, "global").tolist() == [3, 0]


@pytest.mark.parametrize("rule", ["uniform", "global"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.7])
def test_the_share_of_the_costs_is_saved(rule: str, share: float) -> None:
    counts = share_channels(slots_of(0), COSTS, share, rule)
    assert COSTS.left(counts) <= (1 - share) * COSTS.total * (1 + 1e-12)
    assert (counts < np.array(SIZES)).all()
    if share == 0:
        assert not counts.any()


@pytest.mark.parametrize("seed", range(12))
def test_the_global_rule_is_near_the_best_of_all(seed: int) -> None:
    slots, wanted = slots_of(seed), 0.6 * COSTS.total
    every = (np.array(c) for c in itertools.product(*(range(n) for n in SIZES)))
    best = min(loss(slots, counts) for counts in every if COSTS.left(counts) <= wanted)
    found = loss(slots, share_channels(slots, COSTS, 0.4, "global"))
    assert found <= 1.5 * best + 1e-12  # steps are whole channels of groups of four to six
    assert found <= loss(slots, share_channels(slots, COSTS, 0.4, "uniform")) + 1e-12


def test_kept_channels_are_a_multiple_of_align_or_all() -> None:
    for slot, count in zip(
        slots_of(1, 2), share_channels(slots_of(1, 2), COSTS, 0.4, "global"), strict=True
    ):
        assert count == 0 or (slot.n - count) % 2 == 0


def test_a_share_that_leaves_a_group_empty_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sparsity 0\.97 leaves a group of channels empty"):
        share_channels(slots_of(0), COSTS, 0.97, "global")
