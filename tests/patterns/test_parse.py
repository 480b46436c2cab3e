"""A pattern is read from text by one table; what is added there works everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from build_onnx import normal, one_node

import onnx_lobs
from onnx_lobs.arrays import BoolArray, RealArray
from onnx_lobs.errors import ConfigError
from onnx_lobs.patterns import PATTERNS, Pattern, PatternForm, Shape, parse, parse_pattern
from onnx_lobs.solvers import METHODS, prune_layer

SAME = 1e-9  # the same float64 sums in another order


@dataclass(frozen=True)
class WholeRows(Pattern):
    """Zeros in whole rows: the least that a pattern has to answer."""

    def __str__(self) -> str:
        return "rows"

    def closest(self, shape: Shape, sparsity: float, kernel_size: int = 1) -> int:
        groups, rows, columns = shape
        return round(sparsity * groups * rows) * columns

    def select(self, scores: RealArray, n_prune: int, kernel_size: int = 1) -> BoolArray:
        worth = scores.sum(axis=2).ravel()
        mask = np.ones(worth.size, dtype=np.bool_)
        mask[np.argsort(worth, kind="stable")[: n_prune // scores.shape[2]]] = False
        return np.broadcast_to(mask.reshape(*scores.shape[:2], 1), scores.shape).copy()

    def obeys(self, mask: BoolArray, kernel_size: int = 1) -> bool:
        return bool((mask.all(axis=2) | ~mask.any(axis=2)).all())


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    added = PatternForm("rows", "rows", "rows", WholeRows)
    monkeypatch.setattr(parse, "PATTERNS", (*PATTERNS, added))


@pytest.mark.parametrize("method", [m.name for m in METHODS.values() if m.takes(WholeRows())])
def test_a_pattern_that_is_added_solves_layers(rows: None, method: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 6)) @ rng.standard_normal((6, 6))
    weight = rng.standard_normal((8, 6))
    found = prune_layer(
        weight, 2 / 200 * x.T @ x, sparsity=0.25, pattern="rows", method=method, mean=x.mean(axis=0)
    )
    assert np.count_nonzero(~found.mask.any(axis=1)) == 2
    assert np.count_nonzero(found.mask.all(axis=1)) == 6
    assert (found.weight[~found.mask] == 0).all()


def test_whole_rows_cost_their_energy(rows: None) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((200, 6)) @ rng.standard_normal((6, 6))
    weight, hessian = rng.standard_normal((8, 6)), 2 / 200 * x.T @ x
    energy = np.einsum("rd,de,re->r", weight, hessian, weight)
    found = prune_layer(weight, hessian, sparsity=0.25, pattern="rows")
    gone = ~found.mask.any(axis=1)
    assert found.error == pytest.approx(0.5 * energy[gone].sum(), rel=SAME)
    assert np.allclose(found.weight[~gone], weight[~gone], rtol=SAME)


@pytest.mark.parametrize("method", ["exact-obs", "sparsegpt"])
def test_methods_that_eliminate_refuse_what_goes_in_no_tiles(rows: None, method: str) -> None:
    with pytest.raises(ConfigError, match=f"method '{method}' cannot do pattern rows; choose"):
        prune_layer(np.eye(4), np.eye(4), pattern="rows", method=method)


def test_a_pattern_that_is_added_prunes_networks(rows: None) -> None:
    proto = one_node("MatMul", {"w": normal(1, 12, 8)})
    result = onnx_lobs.prune(
        proto, {"x": normal(2, 64, 12)}, pattern="rows", sparsity=0.25, min_weights=0
    )
    (record,) = result.report.layers
    assert record.zeros == 24


def test_the_message_lists_the_table(rows: None) -> None:
    with pytest.raises(ConfigError, match=r"write unstructured, N:M such as 2:4, RxC .*, or rows"):
        parse_pattern("columns")


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.form)
def test_examples_are_of_their_form(pattern: PatternForm) -> None:
    assert str(parse_pattern(pattern.example)) == pattern.example
