"""Lets one run at a time change the names in a folder."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 30.0  # seconds; a run needs the folder for some milliseconds
_STEP = 0.02


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep every other run that asks for the same folder waiting until the end.

    The system drops the lock with the process. Where folders cannot be locked (Windows, some
    network file systems) nobody waits.

    Raises
    ------
    OSError
        Somebody holds the folder for longer than :data:`PATIENCE` seconds.
    """
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


if sys.platform != "win32":
    import fcntl

    def _lock(descriptor: int) -> None:
        """Lock what is open, as soon as nobody else does."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > until:
                    reason = f"another program has locked the folder for {PATIENCE:g} seconds"
                    raise OSError(errno.EAGAIN, reason) from error
                time.sleep(_STEP)
                continue
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EBADF, errno.EINVAL, errno.ENOLCK):
                    raise
            return
