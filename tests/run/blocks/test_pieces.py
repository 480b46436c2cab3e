"""Pieces hold all samples of their batches, where the network takes them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from build_onnx import model, normal, value
from onnx import helper

from onnx_lobs.arrays import Array
from onnx_lobs.data.batches import Batches
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.run.blocks.pieces import (
    LEAST_SAMPLES,
    POSITIONS,
    cut_where_taken,
    in_pieces,
    samples_of_piece,
)
from onnx_lobs.run.retraining.training import TrainingSet

CPU = "CPUExecutionProvider"
SIDE = 32  # pixels along each axis: two samples have POSITIONS
NODE = helper.make_node


class Given:
    """Stands for targets: the numbers of the samples."""

    def __init__(self, batches: list[Array]) -> None:
        self.batches = batches

    def of(self, index: int, *_: object) -> tuple[Array]:
        """Return the batch itself."""
        return (self.batches[index],)


def some(sizes: tuple[int, ...], *shape: int) -> TrainingSet:
    """Return batches of numbered samples, which are their own targets."""
    ends = np.cumsum((0, *sizes))
    wide = (1,) * len(shape)
    arrays = [
        np.broadcast_to(np.arange(a, b, dtype=np.float32).reshape(-1, *wide), (b - a, *shape))
        for a, b in itertools.pairwise(ends)
    ]
    return TrainingSet(Batches(lambda i: {"x": arrays[i]}, sizes, "numbers"), Given(arrays))


def part(*, fixed: int | None = None) -> Model:
    """Return a model of one convolution; with `fixed`, for that number of samples alone."""
    nodes = [NODE("Conv", ["x", "w"], ["y"], kernel_shape=[1, 1])]
    weights = {"w": normal(0, 3, 3, 1, 1)}
    if fixed is not None:
        nodes[0].input[0] = "shaped"
        nodes.insert(0, NODE("Reshape", ["x", "form"], ["shaped"]))
        weights["form"] = np.array([fixed, 3, SIDE, SIDE])
    proto = model(nodes, [value("x", ["n", 3, SIDE, SIDE])], ["y"], weights)
    return Model(to_executable(proto, None, CPU)[0], None)


@pytest.mark.parametrize(
    ("sizes", "cut"),
    [((8, 8), (4,) * 4), ((9, 7), (4,) * 5), ((10, 2), (4, 4, 4, 2)), ((1, 4), (1, 4))],
)
def test_every_sample_is_in_a_piece_with_its_target(
    sizes: tuple[int, ...], cut: tuple[int, ...]
) -> None:
    pieces = in_pieces(some(sizes, 1), 4)
    assert pieces.batches.sizes == cut
    seen = set()
    for index, size in enumerate(pieces.batches.sizes):
        feeds = pieces.batches.load(index)
        (target,) = pieces.targets.of(index, feeds, {})
        np.testing.assert_array_equal(feeds["x"], target)
        assert len(target) == size
        seen.update(target.ravel().tolist())
    assert seen == set(range(sum(sizes)))


def test_a_piece_has_enough_positions() -> None:
    for shape in ((64, 8, 4, 4), (64, 3, SIDE, SIDE), (64, 10), (64, 16, 200)):
        n = samples_of_piece(shape)
        positions = {4: 16 * n, SIDE: SIDE * SIDE * n, 10: n, 200: 16 * n}[shape[-1]]
        assert n == LEAST_SAMPLES or 0 <= positions - POSITIONS < positions / n
        assert n >= LEAST_SAMPLES


def test_batches_of_images_are_cut() -> None:
    whole = some((12, 12), 3, SIDE, SIDE)
    found, seen = cut_where_taken(part(), "y", whole, CPU)
    assert found.batches.sizes == (4,) * 6
    assert seen.shapes["y"] == (4, 3, SIDE, SIDE)


@pytest.mark.parametrize("case", ["fixed", "few"])
def test_what_does_not_take_pieces_gets_batches(case: str) -> None:
    whole = some((12, 12) if case == "fixed" else (4, 4), 3, SIDE, SIDE)
    found, seen = cut_where_taken(part(fixed=12 if case == "fixed" else None), "y", whole, CPU)
    assert found is whole
    assert seen.shapes["y"][0] == whole.batches.sizes[0]


def test_an_input_without_samples_keeps_batches_whole() -> None:
    whole = some((12, 12), 3, SIDE, SIDE)
    batches = Batches(
        lambda i: {**whole.batches.load(i), "scale": np.ones(3, np.float32)}, (12, 12), "numbers"
    )
    both = TrainingSet(batches, whole.targets)
    found, _ = cut_where_taken(part(), "y", both, CPU)
    assert found is both
