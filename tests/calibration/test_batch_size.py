"""Batches are as large as the memory lets, by what the layers' inputs of one sample take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from build_onnx import model, normal, value
from onnx import helper

from onnx_lobs.calibration import batch_size
from onnx_lobs.calibration.batch_size import TAPS_PART
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.data import BATCH_SIZE
from onnx_lobs.run.log import Log
from onnx_lobs.run.setup import Setup, open_run

NODE = helper.make_node
SIDE = 64
FEW = 40 // batch_size.LEAST_BATCHES  # samples of a batch, of 40
TAPPED = 4 * (3 * SIDE**2 + 8 * SIDE**2)  # bytes a sample: the inputs of both convolutions
MIB = 1 << 20


def opened(data: Any = None, n: Any = "n", **options: Any) -> Setup:
    nodes = [
        NODE("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
        NODE("Relu", ["a"], ["r"]),
        NODE("Conv", ["r", "w2"], ["y"], pads=[1, 1, 1, 1]),
    ]
    weights = {"w1": normal(1, 8, 3, 3, 3), "w2": normal(2, 8, 8, 3, 3)}
    proto = model(nodes, [value("x", [n, 3, SIDE, SIDE])], ["y"], weights)
    data = {"x": normal(0, 40, 3, SIDE, SIDE)} if data is None else data
    return open_run(proto, data, None, PruneConfig(min_weights=8, **options), Log())[0]


@pytest.mark.parametrize("memory", [2 * MIB, 8 * MIB, 64 * MIB])
def test_the_layers_inputs_of_a_batch_fit_their_part_of_memory(memory: int) -> None:
    setup = opened(memory=memory)
    size = setup.config.batch_size
    assert size == max(min(memory // (TAPS_PART * TAPPED), FEW), 1)
    assert setup.batches.sizes[0] == size
    assert setup.batches.n_samples == 40
    x = np.concatenate([feeds["x"] for feeds in setup.batches])
    np.testing.assert_array_equal(x, normal(0, 40, 3, SIDE, SIDE))


def test_few_samples_make_ten_batches() -> None:
    assert opened().batches.sizes == (FEW,) * 10
    assert opened(samples=7).batches.sizes == (1,) * 7


def test_without_a_limit_or_with_a_size_of_its_own_a_batch_is_what_it_is() -> None:
    many = {"x": normal(0, 10 * BATCH_SIZE + 8, 3, SIDE, SIDE)}
    assert opened(many).batches.sizes == (BATCH_SIZE,) * 10 + (8,)
    setup = opened(memory=2 * MIB, batch_size=20)
    assert setup.batches.sizes == (20, 20)
    assert setup.config.batch_size == 20


def test_a_batch_taps_no_more_than_the_caches_like(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "MOST_TAPPED", 3 * TAPPED)
    assert opened().config.batch_size == 3
    assert opened(memory=8 * MIB).config.batch_size == 3
    assert opened(memory=2 * MIB).config.batch_size == 1
    assert opened(gram="graph", sequential=False).config.batch_size == FEW
    assert opened(gram="graph", sequential=False, memory=2 * MIB).config.batch_size == 1


def test_batches_that_are_given_and_fixed_ones_stay() -> None:
    given = [{"x": normal(i, 10, 3, SIDE, SIDE)} for i in range(2)]
    assert opened(given, memory=2 * MIB).batches.sizes == (10, 10)
    assert opened(n=8, memory=2 * MIB).batches.sizes == (8,) * 5


def test_samples_that_were_chosen_stay_chosen_and_synthetic_ones_can_be_cut_too() -> None:
    few, many = opened(samples=10, memory=2 * MIB), opened(samples=10)
    assert few.batches.sizes == (1,) * 10
    for one, other in zip(few.batches, many.batches, strict=True):
        np.testing.assert_array_equal(one["x"], other["x"])
    config = PruneConfig(min_weights=8, memory=2 * MIB, samples=7)
    nothing, _ = open_run(few.loaded.proto, None, None, config, Log())
    assert nothing.batches.sizes == (1,) * 7
    assert nothing.batches.synthetic
