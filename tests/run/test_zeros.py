"""Zeros are numbers by layer that nobody can change, by the rule that the options name."""

from __future__ import annotations

from typing import Any

import pytest
from budget_networks import chain, data

from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.log import Log
from onnx_lobs.run.setup import open_run
from onnx_lobs.run.zeros import by_key, by_rule, usual_rule


def test_zeros_cannot_be_changed() -> None:
    setup, _ = open_run(chain(), data(), None, PruneConfig(min_weights=8), Log())
    zeros: Any = by_key(setup.layers, [1, 2, 3])
    assert list(zeros.values()) == [1, 2, 3]
    with pytest.raises(TypeError, match="does not support item assignment"):
        zeros[next(iter(zeros))] = 0


@pytest.mark.parametrize(
    ("allocation", "sparsity", "rule"),
    [("erk", 0.5, "erk"), ("uniform", 0.9, "uniform"), ("auto", 0.5, "uniform"),
     ("auto", 0.9, "erk"), ("global", 0.8, "uniform")],
)  # fmt: skip
def test_the_rule_is_the_one_named_or_the_one_that_is_better(
    allocation: str, sparsity: float, rule: str
) -> None:
    config = PruneConfig(allocation=allocation, min_weights=8)
    assert usual_rule(config, sparsity) == rule
    setup, _ = open_run(chain(), data(), None, config, Log())
    zeros = by_rule(setup.layers, setup.slots, sparsity, rule, setup.pattern)
    assert sum(zeros.values()) == round(sparsity * sum(layer.size for layer in setup.layers))
