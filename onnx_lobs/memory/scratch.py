"""A private scratch folder that is gone when the run is over, however it ends.

While a run lives it holds a lock on a file beside its folder; the system drops the lock with
the process. What a killed run left behind is therefore known, and the next run removes it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from onnx_lobs.errors import ConfigError

MOST_SHOWN = 300  # characters of a path in a message
PREFIX = "onnx-lobs-scratch-"
_LOCK = ".lock"
_ATTEMPTS = 8  # to make a lock that no other run takes for a dead one's before it is held
_TERMINATED = 128 + signal.SIGTERM  # exit code, as shells report it


def _temporary() -> str:
    """Return the system's folder for temporary files."""
    try:
        return tempfile.gettempdir()
    except OSError as error:
        raise ConfigError(
            "the system has no folder for temporary files that can be written to; choose one with "
            "--scratch"
        ) from error


class Scratch:
    """Makes files in a folder of its own, which is made when it is first needed.

    Parameters
    ----------
    base
        Where to make the folder; None: the system's temporary folder. Folders that dead runs
        left there are removed first.

    Raises
    ------
    ConfigError
        When `base` does not exist.
    """

    def __init__(self, base: str | os.PathLike[str] | None = None) -> None:
        self.base = Path(_temporary() if base is None else base)
        if not os.path.isdir(self.base):
            raise ConfigError(
                f"the scratch folder {str(self.base)[:MOST_SHOWN]} does not exist; create it "
                "first, or choose another with --scratch"
            )
        remove_dead(self.base, PREFIX)
        self._folder: Path | None = None
        self._lock: BinaryIO | None = None
        self._count = 0
        self._close: weakref.finalize[..., Scratch] | None = None

    @property
    def folder(self) -> Path:
        """The folder; it exists from the first use of this property on.

        Raises
        ------
        ConfigError
            When it cannot be made.
        """
        if self._folder is None:
            with writing(self.base), undisturbed():
                folder, lock = _make(self.base, PREFIX)
                self._folder, self._lock = folder, lock
                self._close = weakref.finalize(self, _remove, folder, lock)
        return self._folder

    def new_file(self) -> Path:
        """Return a path in the folder that was not given before."""
        self._count += 1
        return self.folder / f"{self._count}"

    def release(self) -> Scratch:
        """Return a Scratch that now owns the folder; it lives as long as that."""
        heir = Scratch(self.base)
        heir._folder, heir._lock, heir._close = self._folder, self._lock, None
        if self._close is not None and heir._folder is not None and heir._lock is not None:
            with undisturbed():
                self._close.detach()
                heir._close = weakref.finalize(heir, _remove, heir._folder, heir._lock)
                self._folder, self._lock, self._close = None, None, None
        return heir

    def close(self) -> None:
        """Remove the folder with all that is in it. Harmless when it is gone."""
        if self._close is not None:
            self._close()


@contextmanager
def writing(base: Path) -> Iterator[None]:
    """Say what to do when the scratch folder cannot be written to.

    Raises
    ------
    ConfigError
        In place of the system's error.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"the scratch folder {base} cannot be written to ({error}); free disk space, or "
            "choose another with --scratch"
        ) from error


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM end the program by an exception, as Ctrl-C does, so that it cleans up.

    Only in the main thread of a program that has no handler of its own; restored at the end.
    """
    own = threading.current_thread() is threading.main_thread()
    if not own or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    sys.exit(_TERMINATED)


@contextmanager
def scratch_in(base: str | os.PathLike[str] | None) -> Iterator[Scratch]:
    """Give a Scratch whose folder is removed in any case, also when SIGTERM ends the program.

    Raises as :class:`Scratch`.
    """
    with interruptible():
        scratch = Scratch(base)
        try:
            yield scratch
        finally:
            scratch.close()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait until the end, so that they do not part what belongs together.

    Only in the main thread, which alone they disturb.
    """
    noted: list[tuple[int, FrameType | None]] = []
    former: dict[int, Callable[[int, FrameType | None], object]] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                handler = signal.getsignal(number)
                if callable(handler):
                    former[number] = handler
                    signal.signal(number, lambda *signalled: noted.append(signalled))
        yield
    finally:
        for restored, handler in former.items():
            signal.signal(restored, handler)
        for signalled in noted:
            former[signalled[0]](*signalled)


@contextmanager
def locked_folder(base: Path, prefix: str) -> Iterator[Path]:
    """Give a new folder in `base` that is removed at the end, or by :func:`remove_dead`.

    Raises
    ------
    OSError
        When it cannot be made. On a system without locks it is made all the same, and stays
        should this process be killed.
    """
    made: list[tuple[Path, BinaryIO]] = []
    try:
        with undisturbed():
            made.append(_make(base, prefix, needs_lock=False))
        yield made[0][0]
    finally:
        for folder, lock in made:
            _remove(folder, lock)


def _make(base: Path, prefix: str, *, needs_lock: bool = True) -> tuple[Path, BinaryIO]:
    """Make a folder and the lock beside it, which is held."""
    name, lock, is_held = _make_lock(base, prefix)
    folder = Path(name.removesuffix(_LOCK))
    try:
        if not is_held and needs_lock:
            raise OSError("a new file is locked")  # by a system without locks
        # only now, so that a folder whose lock is free has no living owner
        folder.mkdir(mode=0o700)
    except OSError:
        _unlink(Path(name), lock)
        raise
    return folder, lock


def _make_lock(base: Path, prefix: str) -> tuple[str, BinaryIO, bool]:
    """Return the name and the file of a new lock, and whether it is held.

    Until it is held, another run may take it for that of a dead one and remove it: then there is
    another one to make.
    """
    for left in reversed(range(_ATTEMPTS)):
        number, name = tempfile.mkstemp(prefix=prefix, suffix=_LOCK, dir=base)
        lock = os.fdopen(number, "r+b")
        is_held = _try_lock(lock) and Path(name).exists()
        if is_held or not left:
            break
        _unlink(Path(name), lock)
    return name, lock, is_held


def _remove(folder: Path, lock: BinaryIO) -> None:
    """Remove a folder and then its lock, which is held."""
    shutil.rmtree(folder, ignore_errors=True)
    _unlink(Path(f"{folder}{_LOCK}"), lock)


def _unlink(path: Path, lock: BinaryIO) -> None:
    """Remove a lock while it is held, where the system removes open files."""
    try:
        path.unlink(missing_ok=True)
    except PermissionError:  # Windows
        lock.close()
        path.unlink(missing_ok=True)
    lock.close()


def remove_dead(base: Path, prefix: str) -> None:
    """Remove the folders with `prefix` in `base` whose owners are dead, killed for instance."""
    for path in base.glob(f"{prefix}*{_LOCK}"):
        folder = path.with_suffix("")
        try:
            lock = os.fdopen(os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)), "r+b")
        except OSError:  # of another user, or just being removed
            continue
        # a lock without its folder: left by a kill between the two, or not held yet
        is_ours = not folder.exists() or (folder.is_dir() and not folder.is_symlink())
        if is_ours and _try_lock(lock):
            _remove(folder, lock)
        else:
            lock.close()


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: BinaryIO) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(file: BinaryIO) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
