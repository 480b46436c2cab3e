"""A cache entry is whole and under its own key, or it is not used and the report says so."""

from __future__ import annotations

import errno
import hashlib
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from build_onnx import normal

from onnx_lobs.errors import ConfigError
from onnx_lobs.run.resume import cache as cache_module
from onnx_lobs.run.resume.cache import Cache, Entry

ENTRY = Entry({"a": normal(1, 5, 4), "b": np.arange(3)}, {"count": 7, "ratio": 0.1})


def test_entries_come_back(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "deep" / "folder")
    assert cache.load("k") is None
    cache.save("k", ENTRY)
    found = Cache(tmp_path / "deep" / "folder").load("k")
    assert found is not None
    assert found.record == ENTRY.record
    assert set(found.arrays) == {"a", "b"}
    assert all(np.array_equal(found.arrays[name], ENTRY.arrays[name]) for name in found.arrays)
    assert [path.name for path in (tmp_path / "deep" / "folder").iterdir()] == ["k.npz"]
    assert not cache.warnings


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace(path: Path) -> None:
    np.savez(path, a=np.ones(3))


def pickled(path: Path) -> None:
    """Make an entry whose checksum agrees, but whose array would be unpickled."""
    with path.open("w+b") as file:
        cache_module._write(file, "k", Entry({"a": np.array([{}], object)}, {}))


def other_key(path: Path) -> None:
    Cache(path.parent).save("other", ENTRY)
    os.replace(path.with_name("other.npz"), path)


def fewer_arrays(path: Path) -> None:
    """Make an entry whose checksum agrees, and which says that it holds another array."""
    with path.open("w+b") as file:
        cache_module._write(file, "k", ENTRY)
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist() if name != "b.npy"}
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, content)
    content = path.with_suffix(".zip").read_bytes()
    path.with_suffix(".zip").unlink()
    sign(path, content)


def no_record(path: Path) -> None:
    np.savez(path.with_name("other.npz"), record=np.frombuffer(b"[1, 2]", np.uint8))
    sign(path, path.with_name("other.npz").read_bytes())


def deep_record(path: Path) -> None:
    text = np.frombuffer(b"[" * 100_000, np.uint8)
    np.savez(path.with_name("other.npz"), record=text)
    sign(path, path.with_name("other.npz").read_bytes())


def sign(path: Path, content: bytes) -> None:
    """Write an entry whose checksum agrees."""
    checksum = hashlib.sha256(content).hexdigest().encode()
    path.write_bytes(cache_module._MAGIC + checksum + b"\n" + content)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (flip, "checksum"), (cut, "checksum"), (empty, "checksum"), (replace, "checksum"),
        (fewer_arrays, "other arrays than it says"), (no_record, "("), (deep_record, "recursion"),
        (pipe, "a pipe, not a file"), (endless, "a device, not a file"),
        (pickled, "it holds Python objects"), (other_key, "another key"),
    ],
)  # fmt: skip
def test_an_entry_that_is_not_sound_is_not_used(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    cache = Cache(tmp_path)
    cache.save("k", ENTRY)
    spoil(tmp_path / "k.npz")
    assert cache.load("k") is None
    assert len(cache.warnings) == 1
    assert "damaged or foreign" in cache.warnings[0]
    assert reason in cache.warnings[0]
    cache.save("k", ENTRY)
    assert cache.load("k") is not None


def test_a_full_disk_is_a_warning_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)

    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    cache.save("k", ENTRY)
    assert "No space left on device" in cache.warnings[0]
    assert not list(tmp_path.iterdir())


def test_files_that_a_killed_run_left_half_written_go_after_a_while(tmp_path: Path) -> None:
    old, new = tmp_path / ".tmp-old", tmp_path / ".tmp-new"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 7200,) * 2)
    Cache(tmp_path)
    assert not old.exists()
    assert new.exists()


def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"cache folder .* is not writable .*--cache"):
        Cache(path)
