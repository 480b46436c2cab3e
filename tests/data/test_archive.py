"""Arrays of an archive come back as they were; sizes that are only stated take no memory."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_lobs.data.files import read_arrays, read_test_set
from onnx_lobs.data.kinds.table import files_read
from onnx_lobs.errors import DataError

F32 = "{'descr': '<f4', 'fortran_order': False, 'shape': %s}"


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + (len(text) + 1).to_bytes(2, "little") + text.encode() + b"\n"


def member(path: Path, content: bytes, how: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr("x.npy", content)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["f4", ">f8", "i8", "u1", "?", "c8", "U3", "S2", "V2"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (7,), (4, 5)])
def test_arrays_come_back(tmp_path: Path, save: Any, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).astype("u1").astype(dtype).reshape(shape)
    for laid_out in (array, np.array(array, order="F")):
        save(tmp_path / "a.npz", x=laid_out)
        found = read_arrays(tmp_path / "a.npz")["x"]
        assert (found.dtype, found.shape) == (array.dtype, shape)
        assert np.array_equal(found, array)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (F32 % "(1099511627776, 12)", "its shape .* needs 52776558133248"),
        (F32 % "(99999999999999999999999, 12)", "needs 4799"),
        (F32 % "(-5, -5)", "its shape"),
        (F32 % "(26,)", "has 100 bytes, its shape .26,. of float32 needs 104"),
        ("{'descr': '<f4'", "."),
        ("{'descr': '<f4', 'fortran_order': 1, 'shape': (25,)}", "."),
        ("{'descr': 'O', 'fortran_order': False, 'shape': (25,)}", "Python objects"),
        ("[" * 200, "."),
        ("(" * 9000, "."),
    ],
)
def test_header_that_lies_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    member(tmp_path / "a.npz", header(text) + bytes(100))
    with pytest.raises(DataError, match=f"cannot be read .*{reason}"):
        read_arrays(tmp_path / "a.npz")
    (tmp_path / "a.npy").write_bytes(header(text) + bytes(50))
    with pytest.raises(DataError, match=r"cannot be read"):
        read_arrays(tmp_path / "a.npy")


@pytest.mark.parametrize("how", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_compressions_are_refused(tmp_path: Path, how: int) -> None:
    member(tmp_path / "a.npz", header(F32 % "(25,)") + bytes(100), how)
    with pytest.raises(DataError, match=r"compressed in a way that numpy.savez never uses"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("save", "field"),  # in the directory: bytes packed, bytes unpacked
    [(np.savez, 24), (np.savez_compressed, 20), (np.savez_compressed, 24)],
)
def test_sizes_in_the_directory_are_not_believed(tmp_path: Path, save: Any, field: int) -> None:
    path = tmp_path / "a.npz"
    save(path, x=np.zeros((1000, 1000), np.float32))
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02") + field
    data[at : at + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"cannot be read"):
        read_arrays(path)


def test_place_in_the_directory_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((1000, 1000), np.float32))
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02") + 42
    data[at : at + 4] = (0x7FFFFFF0).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"cannot be read"):
        read_arrays(path)


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_pipes_and_devices_are_refused_before_they_are_opened(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match=r"cannot be read \(it is a pipe, not a file\)"):
        read_arrays(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"cannot be read \(it is a device, not a file\)"):
        read_arrays(tmp_path / name)


def test_paths_that_no_system_has_are_refused() -> None:
    for name in ("x" * 5000 + ".npz", "a\0b.npz"):
        with pytest.raises(DataError, match=r"cannot be read"):
            read_arrays(Path(name))


def test_tensors_of_a_test_set_hold_their_values(tmp_path: Path) -> None:
    from onnx import TensorProto

    outside = TensorProto(name="x", data_type=1, dims=[3], data_location=1)
    outside.external_data.add(key="location", value="/etc/passwd")
    unknown = TensorProto(name="x", data_type=99, dims=[3], raw_data=bytes(12))
    huge = TensorProto(name="x", data_type=1, dims=[2**40], raw_data=bytes(12))
    for tensor in (outside, unknown, huge):
        (tmp_path / "input_0.pb").write_bytes(tensor.SerializeToString())
        with pytest.raises(DataError, match=r"input_0.pb cannot be read"):
            read_test_set(tmp_path, ["x"])


def test_files_of_a_source_are_those_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "b.npy", np.ones(3))
    (tmp_path / "a" / "c.txt").touch()
    assert files_read(tmp_path / "a") == [tmp_path / "a" / "b.npy"]
    assert files_read(tmp_path / "a" / "b.npy") == [tmp_path / "a" / "b.npy"]
    (tmp_path / "test_data_set_0").mkdir()
    (tmp_path / "test_data_set_0" / "input_0.pb").touch()
    assert files_read(tmp_path) == [tmp_path / "test_data_set_0" / "input_0.pb"]
