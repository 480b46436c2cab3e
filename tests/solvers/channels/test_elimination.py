"""Channels go as brute force says: the loss of every set is that of least squares without it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from onnx_lobs.arrays import FloatArray, IntArray
from onnx_lobs.solvers.channels.greedy import eliminate_channels, order_curve
from onnx_lobs.solvers.channels.reader import ChannelReader
from onnx_lobs.solvers.channels.swaps import channel_error, swap_channels

CLOSE = 1e-9  # of the loss: float64 inverses of well-conditioned matrices
N = 6


def layer(seed: int, width: int, others: int = 0) -> tuple[ChannelReader, FloatArray]:
    """Return a layer that reads N channels, `width` columns each, and some other columns."""
    rng = np.random.default_rng(seed)
    d = N * width + others
    x = rng.standard_normal((4 * d, d)) @ rng.standard_normal((d, d))
    hessian = 2 / len(x) * x.T @ x
    weight = rng.standard_normal((4, d))
    owners = np.concatenate([rng.permutation(np.repeat(np.arange(N), width)), np.full(others, -1)])
    energy = 0.5 * float(np.trace(weight @ hessian @ weight.T))
    return ChannelReader(weight, np.linalg.inv(hessian), energy, owners), hessian


def brute_force(reader: ChannelReader, hessian: FloatArray, gone: IntArray) -> float:
    """Return the relative error of the refit without some channels, from its normal equations."""
    kept = ~np.isin(reader.channels, gone)
    v = np.zeros_like(reader.weight)
    right = (reader.weight @ hessian)[:, kept]
    v[:, kept] = np.linalg.solve(hessian[np.ix_(kept, kept)], right.T).T
    change = v - reader.weight
    return 0.5 * float(np.vdot(change @ hessian, change)) / reader.energy


@pytest.mark.parametrize("widths", [(1,), (3,), (1, 2), (2, 3, 1)])
def test_the_greedy_order_and_its_losses_are_those_of_brute_force(widths: tuple[int, ...]) -> None:
    layers = [layer(seed, width, others=seed % 3) for seed, width in enumerate(widths)]
    curve = eliminate_channels([reader for reader, _ in layers], N)
    gone: list[int] = []
    for step, chosen in enumerate(curve.order):
        left = [channel for channel in range(N) if channel not in gone]
        losses = {
            channel: sum(brute_force(*each, np.array([*gone, channel])) for each in layers)
            for channel in left
        }
        assert chosen == min(losses, key=losses.__getitem__)
        gone.append(int(chosen))
        assert curve.loss[step + 1] == pytest.approx(losses[chosen], rel=CLOSE)


def test_the_error_of_a_set_is_that_of_brute_force() -> None:
    layers = [layer(3, 2, others=2), layer(4, 1)]
    for gone in itertools.combinations(range(N), 3):
        chosen = np.array(gone)
        expected = sum(brute_force(*each, chosen) for each in layers)
        assert channel_error([r for r, _ in layers], chosen) == pytest.approx(expected, rel=CLOSE)


def test_the_curve_of_another_order_costs_what_its_sets_cost() -> None:
    reader, hessian = layer(5, 2)
    order = np.array([5, 0, 3, 1, 2, 4])
    curve = order_curve([reader], order)
    for count in range(1, N):
        expected = brute_force(reader, hessian, order[:count])
        assert curve.loss[count] == pytest.approx(expected, rel=CLOSE)


@pytest.mark.parametrize("seed", range(8))
def test_swaps_lower_the_error_of_a_bad_choice_to_near_the_best(seed: int) -> None:
    readers = [layer(seed, 1)[0], layer(seed + 50, 2)[0]]
    worst = max(
        itertools.combinations(range(N), 3), key=lambda g: channel_error(readers, np.array(g))
    )
    before = channel_error(readers, np.array(worst))
    found = swap_channels(readers, np.array(worst), N)
    assert np.unique(found).size == 3
    assert channel_error(readers, found) < 0.7 * before


def test_swaps_never_raise_the_error_of_the_greedy_choice() -> None:
    for seed in range(20):
        readers = [layer(seed, 1)[0]]
        greedy = eliminate_channels(readers, N).order[:3]
        swapped = swap_channels(readers, greedy, N)
        assert channel_error(readers, swapped) <= channel_error(readers, greedy) * (1 + CLOSE)


def test_a_channel_that_nobody_reads_goes_first_and_costs_nothing() -> None:
    reader, _ = layer(1, 1)
    unread = np.where(reader.channels == 2, -1, reader.channels)
    curve = eliminate_channels(
        [ChannelReader(reader.weight, reader.inverse, reader.energy, unread)], N
    )
    assert curve.order[0] == 2
    assert curve.loss[1] == 0
