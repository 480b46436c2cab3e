"""Batches for models that say their batch is open, and fix it inside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from onnx_lobs.arrays import Feeds
from onnx_lobs.data.batches import Batches
from onnx_lobs.data.fixed_inside import cut_as_fixed_inside
from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.data.reader import open_data
from onnx_lobs.errors import InferenceError

SPEC = InputSpec("x", np.dtype("float32"), ("N", 3))
X = np.arange(120, dtype=np.float32).reshape(40, 3)


def network(*sizes: int) -> Callable[[Feeds], None]:
    """Return what runs on so many samples a call only."""

    def run(feeds: Feeds) -> None:
        if len(feeds["x"]) not in sizes:
            raise InferenceError(f"onnxruntime failed on inputs of shape {feeds['x'].shape}")

    return run


def opened(source: object = X, batch_size: int = 32) -> Batches:
    return open_data(source, (SPEC,), samples=None, batch_size=batch_size)


def test_batches_that_go_through_stay() -> None:
    batches = opened()
    assert cut_as_fixed_inside(batches, network(*range(1, 99))) is batches


@pytest.mark.parametrize(
    ("size", "sizes", "note"),
    [
        (1, (1,) * 40, "the model takes 1 sample a call, fixed inside it"),
        (4, (4,) * 10, "the model takes 4 samples a call, fixed inside it"),
        (16, (16, 16), "takes 16 samples a call, fixed inside it, and 8 samples were left out"),
        (7, (7,) * 5, "takes 7 samples a call, fixed inside it, and 5 samples were left out"),
    ],
)
def test_a_size_that_is_fixed_inside_is_found(size: int, sizes: tuple[int, ...], note: str) -> None:
    found = cut_as_fixed_inside(opened(), network(size))
    assert found.sizes == sizes
    assert note in found.notes[-1]
    assert found.recut is None
    np.testing.assert_array_equal(np.concatenate([b["x"] for b in found]), X[: sum(sizes)])


@pytest.mark.parametrize("batches", [opened([X[:2], X[2:4]]), opened(X[:1]), opened(batch_size=1)])
def test_what_cannot_be_cut_or_is_single_is_not_looked_at(batches: Batches) -> None:
    assert cut_as_fixed_inside(batches, network()) is batches


def test_a_model_that_fails_on_every_size_says_so() -> None:
    with pytest.raises(
        InferenceError, match=r"shape \(2, 3\); it fails on every number of samples"
    ):
        cut_as_fixed_inside(opened(), network())
