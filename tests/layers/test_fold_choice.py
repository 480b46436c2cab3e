"""Weights are weighed together where they share a large constant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from build_onnx import model, normal, value
from onnx import helper

from onnx_lobs.graph.folding.cone import ConstantPart
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.fold_choice import LARGE, groups

NODE = helper.make_node
BIG = LARGE // 4  # numbers of float32


def part_of(sources: Sequence[Sequence[str]]) -> ConstantPart:
    """A model that adds values v0, v1 ..., each the sum of some of the constants a, b, c, s."""
    nodes = [NODE("Sum", names, [f"v{i}"]) for i, names in enumerate(sources)]
    nodes.append(NODE("Sum", ["x", *(f"v{i}" for i in range(len(sources)))], ["y"]))
    weights = {name: normal(1, BIG) for name in "abc"} | {"s": np.ones(1, np.float32)}
    return ConstantPart(Model(model(nodes, [value("x", [BIG])], ["y"], weights), None))


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["a", "b", "c"], [["v0"], ["v1"], ["v2"]]),
        (["as", "bs"], [["v0"], ["v1"]]),  # a scale is no matrix
        (["a", "b", "a"], [["v1"], ["v0", "v2"]]),
        (["a", "b", "ab", "c"], [["v0", "v1", "v2"], ["v3"]]),
        (["a", "b", "c", "ab", "bc"], [["v0", "v1", "v3", "v2", "v4"]]),
    ],
)
def test_groups_share_a_large_constant(sources: list[str], expected: list[list[str]]) -> None:
    part = part_of(sources)
    found = groups(part, [(0, f"v{i}") for i in range(len(sources))])
    assert [sorted(name for _, name in group) for group in found] == [sorted(g) for g in expected]
