"""Tells regular files from what only looks like one: pipes and devices are waited for for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from onnx_lobs.errors import ConfigError

MOST_SHOWN = 300  # characters of a path in a message
_SYSTEM = ("/dev", "/proc")  # where links lead to what is open, not to files of their own
_MOST_LINKS = 40
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def regular_size(path: Path) -> int:
    """Return the bytes of a regular file, links followed.

    Raises
    ------
    OSError
        There is none, it is something else, or the path is none on this system: too long, a
        circle of links, or with a NUL. ``strerror`` says which.
    """
    try:
        info = os.stat(path)
    except ValueError as error:
        raise OSError(errno.EINVAL, "its name holds a character that no name can hold") from error
    if not stat.S_ISREG(info.st_mode):
        kind = _KINDS.get(stat.S_IFMT(info.st_mode), "no file")
        raise OSError(errno.EINVAL, f"it is {kind}, not a file")
    return info.st_size


def mode_of(path: Path) -> int:
    """Return what kind of thing a path leads to, as ``st_mode`` says; 0 where there is nothing.

    Raises
    ------
    OSError
        The path is none on this system.
    """
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except ValueError as error:
        raise OSError(errno.EINVAL, "its name holds a character that no name can hold") from error


def check_kind(path: Path, what: str) -> None:
    """Refuse a name that stands for a pipe, a device or a folder, also by links.

    Raises
    ------
    ConfigError
        Its message begins with `what`.
    OSError
        The path is none on this system.
    """
    mode = mode_of(path)
    if mode and not stat.S_ISREG(mode):
        raise ConfigError(f"{what} is no regular file; choose another name")
    hop = path
    for _ in range(_MOST_LINKS):
        if not hop.is_symlink():
            return
        hop = hop.parent / os.readlink(hop)
        if any(Path(os.path.abspath(hop)).is_relative_to(system) for system in _SYSTEM):
            raise ConfigError(f"{what} is a link to {hop}, no regular file; choose another name")
    raise ConfigError(f"{what} is a circle of links; choose another name")


def shown(path: Path) -> str:
    """Return a path for a message, with the middle of a very long one left out.

    >>> shown(Path("x" * 500))[195:]
    'xxxxx...xxxxx'
    """
    text = str(path)
    return text if len(text) <= MOST_SHOWN else f"{text[:200]}...{text[-5:]}"
