"""What the options say of layers: the memory that one may take."""

from __future__ import annotations

import pytest

from onnx_lobs.layers.find import SQUARES_HELD
from onnx_lobs.memory.shares import LEAST_SOLVER
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.selection import BARE_SQUARES, free_bytes, selection

FREE = 8 << 30


@pytest.mark.parametrize(
    ("memory", "most"),
    [(None, FREE), (2 << 30, 2 << 30), (FREE * 2, FREE), (1 << 20, LEAST_SOLVER)],
)
def test_a_layer_may_take_what_is_free_and_no_more_than_was_named(
    memory: int | None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnx_lobs.run.selection.available_memory", lambda: FREE)
    assert free_bytes(memory) == most


@pytest.mark.parametrize(
    ("method", "refit", "squares"),
    [
        ("joint", None, SQUARES_HELD),
        ("magnitude", False, BARE_SQUARES),
        ("magnitude", True, SQUARES_HELD),
        ("sparsegpt", False, SQUARES_HELD),
    ],
)
def test_methods_that_factor_nothing_hold_fewer_squares(
    method: str, refit: bool | None, squares: int
) -> None:
    config = PruneConfig(sparsity=0.5, method=method, refit=refit)
    assert selection(config).squares_held == squares
