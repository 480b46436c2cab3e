"""How a run works follows from its options and its provider."""

from __future__ import annotations

from typing import Any

import pytest

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.modes import check_modes, corrects, is_sequential, uses_graph

CPU, OTHER = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.mark.parametrize(
    ("options", "sequential", "corrected"),
    [
        ({"method": "joint"}, True, False),
        ({"method": "joint", "sequential": False}, False, True),
        ({"method": "joint", "sequential": False, "refit": False}, False, False),
        ({"method": "magnitude"}, False, True),
        ({"method": "magnitude", "refit": False}, False, False),
        ({"method": "magnitude", "sequential": True}, True, False),
        ({"method": "joint", "correct": True}, True, True),
        ({"method": "joint", "sequential": False, "correct": False}, False, False),
    ],
)
def test_methods_have_the_mode_they_were_made_for_unless_the_options_say_another(
    options: dict[str, Any], sequential: bool, corrected: bool
) -> None:
    config = PruneConfig(**options)
    assert is_sequential(config) == sequential
    assert corrects(config) == corrected


@pytest.mark.parametrize(
    ("gram", "provider", "sequential", "uses"),
    [
        ("auto", CPU, False, False),
        ("auto", OTHER, False, True),
        ("graph", CPU, False, True),
        ("numpy", OTHER, False, False),
        ("auto", OTHER, True, False),
    ],
)
def test_the_graph_computes_grams_where_it_may(
    gram: str, provider: str, sequential: bool, uses: bool
) -> None:
    config = PruneConfig(gram=gram, sequential=sequential)
    check_modes(config)
    assert uses_graph(config, provider) == uses


def test_grams_of_two_networks_cannot_be_asked_of_one_graph() -> None:
    with pytest.raises(ConfigError, match="gram 'graph' is not possible in sequential mode"):
        check_modes(PruneConfig(gram="graph", sequential=True))
