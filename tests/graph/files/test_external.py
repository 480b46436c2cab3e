"""Weights change in a working copy of their files, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from build_onnx import Array, normal, tensor
from onnx import ModelProto, TensorProto, helper

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.external import (
    copy_data,
    external_bytes,
    patch_tensor,
    shared_places,
    stored_bytes,
)
from onnx_lobs.graph.files.location import is_external
from onnx_lobs.graph.files.tensors import read_tensor
from onnx_lobs.graph.model import Model


def external_model(places: dict[str, tuple[str, int, tuple[int, ...]]], folder: Path) -> ModelProto:
    """Make a model whose float32 weights lie at {name: (file, offset, shape)}."""
    proto = helper.make_model(helper.make_graph([], "g", [], []))
    for name, (file, offset, shape) in places.items():
        size = 4 * int(np.prod(shape))
        entry = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT)
        entry.data_location = TensorProto.EXTERNAL
        for key, text in (("location", file), ("offset", offset), ("length", size)):
            entry.external_data.add(key=key, value=str(text))
        proto.graph.initializer.append(entry)
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        old = path.read_bytes() if path.exists() else b""
        path.write_bytes(old.ljust(offset + size, b"\1"))
    return proto


PLACES: dict[str, tuple[str, int, tuple[int, ...]]] = {
    "a": ("m.data", 0, (2, 3)),
    "b": ("m.data", 24, (4,)),
    "c": ("deep/n.data", 8, (5,)),
}


def test_all_data_files_are_copied_under_their_names(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    proto = external_model(PLACES, source)
    (source / "m.data").chmod(0o400)
    target.mkdir()
    copy_data(proto, source, target)
    for name in ("m.data", "deep/n.data"):
        assert (target / name).read_bytes() == (source / name).read_bytes()
        assert (target / name).stat().st_mode & 0o777 == 0o600
        assert not (target / name).samefile(source / name)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, ml_dtypes.bfloat16])
def test_a_patch_changes_one_tensor_only(tmp_path: Path, dtype: type) -> None:
    arrays = {name: normal(i, 3, 4).astype(dtype) for i, name in enumerate("abc")}
    proto = helper.make_model(helper.make_graph([], "g", [], []))
    proto.graph.initializer.extend(tensor(name, array) for name, array in arrays.items())
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    found = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    index = Model(found, tmp_path, is_private=True)
    new: Array = normal(9, 4, 3).astype(dtype).T  # not contiguous
    index.write(index.main.initializers["b"], new)
    for name, array in {**arrays, "b": new}.items():
        stored = index.main.initializers[name]
        assert is_external(stored)
        assert np.array_equal(read_tensor(stored, tmp_path), array)


def test_bytes_that_tensors_share_are_not_patched(tmp_path: Path) -> None:
    places: dict[str, tuple[str, int, tuple[int, ...]]] = {
        "a": ("m.data", 0, (4,)), "same": ("m.data", 0, (4,)), "part": ("m.data", 40, (2,)),
        "around": ("m.data", 32, (8,)), "alone": ("m.data", 16, (4,)), "other": ("n.data", 0, (4,)),
    }  # fmt: skip
    index = Model(external_model(places, tmp_path), tmp_path, is_private=True)
    assert {ref.offset for ref in shared_places(index.proto)} == {0, 32, 40}
    before = (tmp_path / "m.data").read_bytes()
    index.write(index.main.initializers["a"], np.zeros(4, np.float32))
    assert not is_external(index.main.initializers["a"])
    assert (tmp_path / "m.data").read_bytes() == before
    index.write(index.main.initializers["alone"], np.zeros(4, np.float32))
    assert (tmp_path / "m.data").read_bytes() == before[:16] + bytes(16) + before[32:]


def test_files_that_are_not_private_are_never_written(tmp_path: Path) -> None:
    index = Model(external_model(PLACES, tmp_path), tmp_path)
    before = (tmp_path / "m.data").read_bytes()
    index.write(index.main.initializers["b"], np.zeros(4, np.float32))
    assert (tmp_path / "m.data").read_bytes() == before
    assert not is_external(index.main.initializers["b"])


def test_bytes_are_counted_where_they_lie(tmp_path: Path) -> None:
    proto = external_model(PLACES, tmp_path)
    assert external_bytes(proto) == 60
    assert stored_bytes(proto.graph.initializer[0]) == 24
    inside = tensor("d", normal(1, 10))
    assert 40 < stored_bytes(inside) < 60
    proto.graph.initializer.append(inside)
    assert Model(proto, tmp_path).weight_bytes == 60 + stored_bytes(inside)


@pytest.mark.parametrize("array", [normal(1, 3, 2), normal(1, 2, 3, dtype=np.float64)])
def test_values_that_do_not_fit_are_refused(tmp_path: Path, array: Array) -> None:
    proto = external_model(PLACES, tmp_path)
    with pytest.raises(ModelError, match=r"'a' of shape \[2, 3\] has 24 bytes and cannot take"):
        patch_tensor(proto.graph.initializer[0], tmp_path, array)
