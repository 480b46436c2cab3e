"""The verb expand writes a file of dense weights, or says in one line why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from build_onnx import normal, one_node, tensor

from onnx_lobs.errors import ConfigError, InferenceError, ModelError
from onnx_lobs.storage.formats import FORMATS
from onnx_lobs.verbs.expand import expand_file


def packed(path: Path, form: str = "packed") -> bytes:
    """Write a packed model; return the bytes of its weight."""
    array = normal(0, 64, 64)
    array[np.random.default_rng(0).random(array.shape) < 0.9] = 0
    proto = one_node("MatMul", {"w": array})
    FORMATS[form].encode(proto, ["w"], None)
    onnx.save(proto, path)
    return array.tobytes()


@pytest.mark.parametrize(("form", "counts"), [("packed", (0, 1)), ("sparse", (1, 0))])
def test_the_weights_come_back_to_the_bit(
    tmp_path: Path, form: str, counts: tuple[int, int]
) -> None:
    weight = packed(tmp_path / "m.onnx", form)
    found = expand_file(tmp_path / "m.onnx", tmp_path / "o.onnx")
    assert (found.sparse, found.packed, found.widened) == (*counts, 0)
    assert found.n_bytes == (tmp_path / "o.onnx").stat().st_size
    (stored,) = onnx.load(tmp_path / "o.onnx").graph.initializer
    assert stored.raw_data == weight


def test_what_holds_nothing_to_expand_is_refused(tmp_path: Path) -> None:
    onnx.save(one_node("MatMul", {"w": normal(0, 4, 4)}), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"holds no weight that is sparse .* --values fp32"):
        expand_file(tmp_path / "m.onnx", tmp_path / "o.onnx")
    assert not (tmp_path / "o.onnx").exists()


def test_an_output_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    packed(tmp_path / "m.onnx")
    (tmp_path / "o.onnx").touch()
    with pytest.raises(ConfigError, match="--overwrite"):
        expand_file(tmp_path / "m.onnx", tmp_path / "o.onnx")
    with pytest.raises(ConfigError, match="would replace the input"):
        expand_file(tmp_path / "m.onnx", tmp_path / "m.onnx", overwrite=True)
    expand_file(tmp_path / "m.onnx", tmp_path / "o.onnx", overwrite=True)
    assert (tmp_path / "o.onnx").stat().st_size > 64 * 64 * 4


def test_a_packed_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    packed(tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    gaps = next(t for t in proto.graph.initializer if t.name.endswith(".gaps"))
    gaps.CopyFrom(tensor(gaps.name, np.full(gaps.dims[0], 255, np.uint8)))
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(InferenceError, match="onnxruntime cannot compute"):
        expand_file(tmp_path / "m.onnx", tmp_path / "o.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx"]
