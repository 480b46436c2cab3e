"""A storage format is one line of a table; what is added there is written and counted."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import pytest
from build_onnx import normal, one_node
from onnx import ModelProto

import onnx_lobs
from onnx_lobs.errors import ConfigError
from onnx_lobs.options import config
from onnx_lobs.storage.dense import dense_bytes
from onnx_lobs.storage.formats import FORMATS, StorageFormat
from onnx_lobs.storage.sizes import encoded_bytes, expected_bytes
from onnx_lobs.verbs.prune import prune_file

DATA = {"x": normal(2, 64, 12)}


def noted(proto: ModelProto, names: Collection[str], folder: Path | None = None) -> list[str]:
    """Write into each weight's documentation how many zeros it has."""
    found = [tensor for tensor in proto.graph.initializer if tensor.name in names]
    for tensor in found:
        zeros = np.count_nonzero(onnx.numpy_helper.to_array(tensor) == 0)
        tensor.doc_string = f"{zeros} zeros"
    return [tensor.name for tensor in found]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    added = StorageFormat("noted", noted, dense_bytes, float, shrinks=False, hint="counted")
    monkeypatch.setitem(cast("dict[str, StorageFormat]", FORMATS), "noted", added)
    monkeypatch.setattr(config, "check_options", lambda options: None)  # whose list is a copy


def test_a_format_that_is_added_is_written(toy: None, tmp_path: Path) -> None:
    onnx.save(one_node("MatMul", {"w": normal(1, 12, 8)}), tmp_path / "m.onnx")
    options = config.PruneConfig(storage="noted", sparsity=0.5, min_weights=0)
    prune_file(tmp_path / "m.onnx", tmp_path / "o.onnx", options, data=DATA)
    (weight,) = onnx.load(tmp_path / "o.onnx").graph.initializer
    assert weight.doc_string == "48 zeros"


def test_a_format_that_keeps_its_size_meets_no_limit_of_bytes(toy: None) -> None:
    proto = one_node("MatMul", {"w": normal(1, 12, 8)})
    with pytest.raises(ConfigError, match=r"in a noted file, .* add --format sparse"):
        onnx_lobs.prune(proto, DATA, storage="noted", max_bytes=100, min_weights=0)


@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_zeros_change_no_dense_file(sparsity: float) -> None:
    weight = normal(1, 12, 8)
    weight[np.random.default_rng(0).random(weight.shape) < sparsity] = 0
    proto = one_node("MatMul", {"w": weight})
    dense = FORMATS["dense"]
    assert encoded_bytes(proto, ["w"], dense) == len(proto.SerializeToString())
    assert expected_bytes(proto, ["w"], dense)(sparsity) == len(proto.SerializeToString())


@pytest.mark.parametrize("name", FORMATS)
def test_encoding_changes_a_copy(name: str) -> None:
    weight = np.zeros((64, 64), dtype=np.float32)
    proto = one_node("MatMul", {"w": weight})
    before = proto.SerializeToString()
    size = encoded_bytes(proto, ["w"], FORMATS[name])
    assert proto.SerializeToString() == before
    assert (size < len(before)) == FORMATS[name].shrinks
