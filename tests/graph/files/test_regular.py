"""Only regular files are taken for files; whatever else a path leads to is named at once."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from onnx_lobs.graph.files.regular import MOST_SHOWN, mode_of, regular_size, shown


def test_size_of_a_file_is_that_behind_its_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").symlink_to("b")
    assert regular_size(tmp_path / "c") == 5


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to_pipe").symlink_to("pipe")
    (tmp_path / "circle").symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path, words in {
            tmp_path: "a folder",
            tmp_path / "pipe": "a pipe",
            tmp_path / "to_pipe": "a pipe",
            tmp_path / "socket": "a socket",
            Path("/dev/zero"): "a device",
            tmp_path / "circle": "links",
            tmp_path / ("x" * 300): "too long",
            tmp_path / "a\0b": "no name can hold",
        }.items():
            with pytest.raises(OSError, match=words):
                regular_size(path)


def test_nothing_has_no_mode(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert mode_of(tmp_path / "a") != 0
    assert mode_of(tmp_path / "b") == 0
    assert mode_of(tmp_path / "a" / "b") == 0
    with pytest.raises(OSError, match="no name can hold"):
        mode_of(tmp_path / "a\0b")


def test_long_paths_are_shown_short() -> None:
    assert shown(Path("a/b")) == "a/b"
    assert len(shown(Path("x" * 5000))) < MOST_SHOWN
