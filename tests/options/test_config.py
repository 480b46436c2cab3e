"""The options of a run are checked once, with value, limit and remedy."""

from __future__ import annotations

from typing import Any

import pytest

from onnx_lobs import ConfigError, PruneConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, "sparsity is 1.0; it must be at least 0 and below 1"),
        ({"sparsity": -0.1}, "sparsity is -0.1; it must be at least 0"),
        ({"sparsity": float("nan")}, "sparsity is nan"),
        ({"sparsity": 80}, "for 80 % write 0.8"),
        ({"layer_sparsity": {"fc*": 2.0}}, "layer sparsity of 'fc\\*' is 2.0"),
        ({"method": "magic"}, "method 'magic' is unknown; choose one of joint"),
        ({"effort": "utmost"}, "effort 'utmost' is unknown; choose one of fast, default, best"),
        ({"allocation": "magic"}, "allocation 'magic' is unknown; choose one of auto"),
        ({"gram": "gpu"}, "gram 'gpu' is unknown; choose one of auto, numpy, graph"),
        ({"storage": "zip"}, "format 'zip' is unknown; choose one of dense, sparse"),
        ({"op_types": ("Gru",)}, "op type 'Gru' is unknown"),
        ({"min_weights": -1}, "min_weights is -1; it must be at least 0"),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"samples": 0}, "samples is 0; it must be at least 1"),
        ({"positions": 0}, "positions is 0; it must be at least 1"),
        ({"damp": -1.0}, "damp is -1.0; it must be a finite number >= 0"),
        ({"damp": float("inf")}, "damp is inf"),
    ],
)
def test_an_impossible_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PruneConfig(**options)


def test_the_defaults_are_possible() -> None:
    assert PruneConfig().method == "joint"
