"""Tests that outputs are remembered as they are, on the batches that they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from onnx_lobs.arrays import Array
from onnx_lobs.data.batches import Batches
from onnx_lobs.evaluation.remembered import RememberedOutputs

N_BATCHES = 6
BYTES = 8  # of the outputs of a batch


class Doubling:
    """A network that counts its runs."""

    def __init__(self) -> None:
        self.n_run = self.n_loaded = 0

    def opened(self) -> Doubling:
        self.n_loaded += 1
        return self

    def run(
        self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None
    ) -> dict[str, Any]:
        self.n_run += 1
        return {"y": 2 * feeds["x"]}


def batches() -> Batches:
    data = np.random.default_rng(0).standard_normal(N_BATCHES)
    return Batches(lambda i: {"x": data[i : i + 1]}, (1,) * N_BATCHES, "made up")


def outputs(remembered: RememberedOutputs, some: Batches) -> list[float]:
    known = remembered.on(some)
    return [float(known.run(feeds)["y"][0]) for feeds in some]


@pytest.mark.parametrize("places", [range(N_BATCHES), [4, 1], [3, 3]], ids=["all", "some", "twice"])
@pytest.mark.parametrize("most", [0, 2 * BYTES, N_BATCHES * BYTES])
def test_outputs_are_those_of_the_batches_asked_for(places: Sequence[int], most: int) -> None:
    every = batches()
    remembered = RememberedOutputs(Doubling().opened, most)
    for some in (every.pick([1, 2, 4]).pick([2, 0]), every.pick(places), every):
        assert outputs(remembered, some) == [float(2 * feeds["x"][0]) for feeds in some]


def test_the_network_runs_once_on_each_batch_and_is_loaded_for_new_ones_only() -> None:
    network, every = Doubling(), batches()
    remembered = RememberedOutputs(network.opened, N_BATCHES * BYTES)
    outputs(remembered, every.pick([0, 3]))
    outputs(remembered, every.pick([3]))
    assert (network.n_run, network.n_loaded) == (2, 1)
    outputs(remembered, every)
    outputs(remembered, every)
    assert (network.n_run, network.n_loaded) == (N_BATCHES, 2)


@pytest.mark.parametrize("most", [0, BYTES, 3 * BYTES])
def test_no_more_is_kept_than_fits(most: int) -> None:
    network, every = Doubling(), batches()
    remembered = RememberedOutputs(network.opened, most)
    outputs(remembered, every)
    outputs(remembered, every)
    assert network.n_run == 2 * N_BATCHES - most // BYTES


@pytest.mark.parametrize(("most", "forgotten"), [(2 * BYTES, 0), (BYTES, 2)])
def test_what_exceeds_a_smaller_budget_is_forgotten(most: int, forgotten: int) -> None:
    network, every = Doubling(), batches()
    remembered = RememberedOutputs(network.opened, N_BATCHES * BYTES)
    outputs(remembered, every.pick([0, 1]))
    remembered.keep_most(most)
    remembered.keep_most(N_BATCHES * BYTES)
    outputs(remembered, every)
    assert network.n_run == N_BATCHES + forgotten
