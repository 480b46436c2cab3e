"""Reading data files and finding them beside a model."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnx_lobs.data.files import (
    find_beside,
    find_test_beside,
    list_files,
    list_test_sets,
    read_arrays,
    read_test_set,
)
from onnx_lobs.errors import DataError


def write_tensor(path: Path, value: float, name: str = "") -> None:
    tensor = onnx.numpy_helper.from_array(np.full((1, 2), value, np.float32), name)
    path.write_bytes(tensor.SerializeToString())


def test_a_npz_gives_its_arrays_and_passes_over_other_members(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.arange(3), **{"x.scale": np.float32(0.5)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README.txt", "words")
    arrays = read_arrays(path)
    assert sorted(arrays) == ["x", "x.scale"]
    np.testing.assert_array_equal(arrays["x"], np.arange(3))


def test_a_npy_is_mapped_under_its_stem(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(3))
    arrays = read_arrays(tmp_path / "x.npy")
    assert isinstance(arrays["x"], np.memmap)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npz", b"no zip at all"),
        ("a.npz", b""),
        ("a.npz", b"PK\x03\x04 cut short"),
        ("a.npy", b"no array"),
        ("a.npy", b""),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} cannot be read \(.+\); write it anew"):
        read_arrays(tmp_path / name)


def test_a_member_that_was_altered_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(1000))
    content = bytearray(path.read_bytes())
    content[3000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="Bad CRC-32"):
        read_arrays(path)


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_python_objects_are_refused(tmp_path: Path, name: str) -> None:
    objects = np.array([{}, []], dtype=object)
    if name.endswith("npz"):
        np.savez(tmp_path / name, x=objects)
    else:
        np.save(tmp_path / name, objects)
    with pytest.raises(DataError, match="without Python objects"):
        read_arrays(tmp_path / name)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; check the path"):
        read_arrays(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("p", "q"), {"p": 0, "q": 1}), (("b", "a"), {"a": 0, "b": 1})],
    ids=["by number", "by name"],
)
def test_a_test_set_goes_by_number_unless_the_names_are_the_inputs(
    tmp_path: Path, names: tuple[str, str], expected: dict[str, float]
) -> None:
    write_tensor(tmp_path / "input_0.pb", 0, "a")
    write_tensor(tmp_path / "input_1.pb", 1, "b")
    found = read_test_set(tmp_path, names)
    assert {name: array[0, 0] for name, array in found.items()} == expected


def test_inputs_of_a_test_set_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for i in range(11):
        write_tensor(tmp_path / f"input_{i}.pb", i)
    found = read_test_set(tmp_path, ["p"])
    assert [array[0, 0] for array in found.values()] == list(range(11))
    assert list(found)[:2] == ["p", "input_1"]


@pytest.mark.parametrize("content", [b"\xff\xffgarbage", b""])
def test_a_damaged_tensor_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "input_0.pb").write_bytes(content)
    with pytest.raises(DataError, match=r"input_0.pb cannot be read"):
        read_test_set(tmp_path, ["x"])


def test_listings_put_2_before_10(tmp_path: Path) -> None:
    for name in ("s10.npy", "s2.npz", "a.txt", "test_data_set_9"):
        (tmp_path / name).touch()
    for i in (10, 2):
        (tmp_path / f"test_data_set_{i}").mkdir()
    assert [p.name for p in list_files(tmp_path)][1:3] == ["s2.npz", "s10.npy"]
    assert [path.name for path in list_test_sets(tmp_path)] == [
        "test_data_set_2",
        "test_data_set_10",
    ]


def test_data_beside_a_model_are_found_in_their_order(tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    assert find_beside(model) is None
    (tmp_path / "test_data_set_0").mkdir()
    assert find_beside(model) == tmp_path
    for name in ("calibration.npz", "net_calibration.npz", "net.npz"):
        (tmp_path / name).touch()
        assert find_beside(model) == tmp_path / name


def test_a_test_set_beside_a_model_is_found_only_with_labels(tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    assert find_test_beside(model) is None
    np.savez(tmp_path / "net_test.npz", x=np.arange(2), y=np.arange(2))
    assert find_test_beside(model) is None
    np.savez(tmp_path / "test.npz", x=np.arange(2), label=np.arange(2))
    assert find_test_beside(model) == tmp_path / "test.npz"
    np.savez(tmp_path / "net_test.npz", x=np.arange(2), labels=np.arange(2))
    assert find_test_beside(model) == tmp_path / "net_test.npz"


def test_a_damaged_test_set_beside_a_model_is_reported(tmp_path: Path) -> None:
    (tmp_path / "test.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"test.npz cannot be read"):
        find_test_beside(tmp_path / "net.onnx")


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_arrays_of_an_npz_are_mapped_and_the_others_read(tmp_path: Path, order: Any) -> None:
    large = np.asarray(np.arange(1 << 19, dtype=np.float32).reshape(512, 1024), order=order)
    np.savez(tmp_path / "a.npz", large=large, small=large[:2])
    found = read_arrays(tmp_path / "a.npz")
    assert isinstance(found["large"], np.memmap)
    assert not isinstance(found["small"], np.memmap)
    assert np.array_equal(found["large"], large)
    assert np.array_equal(found["small"], large[:2])


def test_a_compressed_npz_is_read_whole(tmp_path: Path) -> None:
    large = np.arange(1 << 19, dtype=np.float32)
    np.savez_compressed(tmp_path / "a.npz", large=large)
    found = read_arrays(tmp_path / "a.npz")["large"]
    assert not isinstance(found, np.memmap)
    assert np.array_equal(found, large)


def test_a_large_array_of_objects_is_refused_not_mapped(tmp_path: Path) -> None:
    objects = np.array([str(i) for i in range(1 << 17)], dtype=object)
    np.savez(tmp_path / "a.npz", large=objects)
    with pytest.raises(DataError, match=r"cannot be read \(it holds Python objects"):
        read_arrays(tmp_path / "a.npz")


def test_names_too_long_for_data_beside_them_have_none(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 243 + ".onnx")
    path.touch()
    assert find_beside(path) is None
    assert find_test_beside(path) is None
