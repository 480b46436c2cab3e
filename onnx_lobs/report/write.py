"""Writes a record to a file in the form that its name asks for: all of it, or nothing."""

from __future__ import annotations

import importlib.util
import os
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from onnx_lobs.errors import ConfigError
from onnx_lobs.graph.files.regular import check_kind, mode_of, shown
from onnx_lobs.report.html.missing import NO_JINJA


class Recorded(Protocol):
    """A record that has every form of report."""

    def to_json(self) -> str:
        """Return it as JSON."""

    def to_html(self) -> str:
        """Return it as a page."""

    def to_markdown(self) -> str:
        """Return it as Markdown."""


FORMS: Mapping[str, Callable[[Recorded], str]] = {
    ".json": lambda record: record.to_json(),
    ".html": lambda record: record.to_html(),
    ".htm": lambda record: record.to_html(),
    ".md": lambda record: record.to_markdown(),
}
_PAGES = (".html", ".htm")


def check_reports(
    paths: Iterable[Path], *, overwrite: bool, forms: Collection[str] = FORMS.keys()
) -> None:
    """Refuse what :func:`check_report` refuses, and one file that is named twice.

    Parameters
    ----------
    paths
        The files.
    overwrite
        Whether existing ones may be replaced.
    forms
        Those that the record has.

    Raises
    ------
    ConfigError
        When one of them is not possible.
    """
    seen: set[Path] = set()
    for path in paths:
        check_report(path, overwrite=overwrite, forms=forms)
        if path.resolve() in seen:
            raise ConfigError(f"report {shown(path)!r} is named twice; name each file once")
        seen.add(path.resolve())


def check_report(path: Path, *, overwrite: bool, forms: Collection[str] = FORMS.keys()) -> None:
    """Refuse a report file that :func:`write_report` could not write, before any work is done.

    Raises
    ------
    ConfigError
        When the form is unknown, jinja2 is missing for a page, the folder is not there or not
        writable, the name leads to no
        regular file, or the file exists and `overwrite` is False.
    """
    form = path.suffix.lower()
    if form not in forms:
        names = ".html, .md or .json" if len(forms) > 1 else " or ".join(forms)
        raise ConfigError(f"report {shown(path)!r} has an unknown form; name it {names}")
    if form in _PAGES and importlib.util.find_spec("jinja2") is None:
        raise ConfigError(NO_JINJA)
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


def write_reports(paths: Iterable[Path], record: Recorded) -> None:
    """Write a record to files, each in the form that its name asks for.

    Raises
    ------
    ConfigError
        When writing failed.
    """
    for path in paths:
        write_report(path, FORMS[path.suffix.lower()](record))


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
