"""Write a record to a file: all of it, or nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from onnx_lobs.errors import ConfigError
from onnx_lobs.graph.files.regular import check_kind, mode_of, shown


def check_report(path: Path, *, overwrite: bool) -> None:
    """Refuse a report file that :func:`write_report` could not write, before any work is done.

    Raises
    ------
    ConfigError
        When the form is unknown, the folder is not there or not writable, the name leads to no
        regular file, or the file exists and `overwrite` is False.
    """
    if path.suffix.lower() != ".json":
        raise ConfigError(f"report {shown(path)!r} has an unknown form; name it .json")
    check_place(path, "report", overwrite=overwrite)


def check_place(path: Path, word: str, *, overwrite: bool) -> None:
    """Refuse a file that could not be written; `word` says what it is.

    Raises
    ------
    ConfigError
        As :func:`check_report`.
    """
    try:
        mode = mode_of(path)
    except OSError as error:
        raise ConfigError(
            f"{word} {shown(path)!r} is not possible ({error.strerror}); choose another name"
        ) from error
    if stat.S_ISDIR(mode):
        raise ConfigError(f"{word} {str(path)!r} is a folder; name a file")
    if not path.parent.is_dir():
        raise ConfigError(f"the folder of {word} {str(path)!r} does not exist; create it")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"the folder of {word} {str(path)!r} is not writable; choose another")
    check_kind(path, f"{word} {str(path)!r}")
    if (mode or path.is_symlink()) and not overwrite:
        raise ConfigError(f"{word} {str(path)!r} exists; name another, or give --overwrite")


def write_report(path: Path, text: str) -> None:
    """Write `text` and a final newline to `path`, atomically, in UTF-8.

    Raises
    ------
    ConfigError
        When writing failed; `path` is then as it was.
    """
    temporary = path.with_name(f".onnx-lobs-report-{os.getpid()}")  # of a length that always fits
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(
            f"report {str(path)!r} cannot be written: {error.strerror}; choose another place"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
