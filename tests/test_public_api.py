"""The public door: these names, and no others, documented and importable late."""

from __future__ import annotations

import onnx_lobs


def test_every_public_name_is_there_and_documented() -> None:
    for name in onnx_lobs.__all__:
        value = getattr(onnx_lobs, name)
        assert name == "__version__" or value.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(onnx_lobs, "prune_everything")
