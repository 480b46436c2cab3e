"""The least sparse network that fits, found with runs that cost nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from onnx_lobs.errors import ConfigError
from onnx_lobs.search.fit import FIT_RUNS, Room, search_fit


class Setup:
    """Stands for a setup: only its sparsity is asked for."""

    def at(self, sparsity: float) -> Any:
        return sparsity


def found(flash: int, off: float = 1.0, most: float = 1.0) -> tuple[Any, Any]:
    """Search where a network takes 1,000 bytes and 100,000 times the share kept times `off`."""
    networks = SimpleNamespace(renewed=lambda: None)
    room = Room(
        "a part",
        flash,
        lambda sparsity: 1000 + 1e5 * (1 - sparsity),
        lambda run: round(1000 + off * 1e5 * (1 - cast(Any, run).sparsity)),
    )

    def run(sparsity: Any, _networks: Any, _kind: Any) -> Any:
        return SimpleNamespace(sparsity=sparsity, choice=SimpleNamespace(kind="a kind"))

    return search_fit(cast(Any, Setup()), cast(Any, networks), run, room, most)


@pytest.mark.parametrize("off", [0.8, 0.95, 1.0, 1.1, 1.5])
def test_the_network_fits_and_fills_the_flash_in_few_runs(off: float) -> None:
    best, target = found(20_000, off)
    sizes = {run["sparsity"]: run["flash_bytes"] for run in target.runs}
    assert 0.95 * 20_000 <= sizes[best.sparsity] <= 20_000
    assert target.is_met
    assert target.sparsity == best.sparsity
    assert len(target.runs) <= FIT_RUNS


def test_a_part_that_nothing_fits_is_one_sentence_before_any_run() -> None:
    with pytest.raises(ConfigError, match=r"nothing fits a part: .* takes about .* larger part"):
        found(900)


def test_a_network_that_turns_out_too_large_is_refused_after_the_runs() -> None:
    with pytest.raises(ConfigError, match=r"nothing fits a part: with 50 % zeros the code takes"):
        found(60_000, off=2.0, most=0.5)


def test_a_large_part_takes_the_dense_network() -> None:
    best, target = found(200_000)
    assert best.sparsity == 0.0
    assert len(target.runs) == 1
