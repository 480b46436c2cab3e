"""Compiles loops with Numba where it is installed (extra ``speed``); else NumPy does the work.

A loop over numbers is written once, as plain Python on NumPy arrays, and marked :func:`compiled`.
Numba compiles it when it is first called with a type, which takes about a second, and it runs
without the interpreter's lock. Who calls it asks :func:`is_available` first, and has another way
in NumPy: plain Python would take minutes. Nothing is cached on disk.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from onnx_lobs.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])
# what lets sums run in vector registers; infinities and NaN keep their meaning
FAST = {"contract", "reassoc", "nsz", "arcp"}
OFF = "ONNX_LOBS_COMPILED"  # an environment variable; "0": as if Numba were not installed
_lock = threading.Lock()
_avoided = 0


def is_available() -> bool:
    """Whether compiled loops can be called, and are wanted."""
    return not _avoided and os.environ.get(OFF) != "0" and _is_installed()


def version() -> str | None:
    """Return what compiles, name and version; None where NumPy does all."""
    if not is_available():
        return None
    return f"numba {importlib.metadata.version('numba')}"


@contextmanager
def without(when: bool = True) -> Iterator[None]:
    """Return a context in which nothing is compiled, in all threads, or no change unless `when`."""
    global _avoided
    if not when:
        yield
        return
    with _lock:
        _avoided += 1
    try:
        yield
    finally:
        with _lock:
            _avoided -= 1


def compiled(function: F) -> F:
    """Mark a loop that Numba can compile; `__wrapped__` is the plain function.

    A call raises ConfigError when Numba is installed but does not work with what else is.
    """

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        with _lock:  # two threads would compile it twice
            loop = _compile(function)
        return loop(*arguments)

    return call  # type: ignore[return-value]  # the same arguments and result


@functools.cache
def _is_installed() -> bool:
    # without its compiler Numba would run the loops as they are
    return importlib.util.find_spec("numba") is not None and not os.environ.get("NUMBA_DISABLE_JIT")


@functools.cache
def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        import numba
    except ImportError as error:  # it refuses versions of NumPy that it does not know
        raise ConfigError(
            f"Numba is installed but cannot be loaded: {error}; install versions that go together, "
            f"uninstall numba, or set {OFF}=0 to do without it"
        ) from error
    result: Callable[..., Any] = numba.njit(nogil=True, fastmath=FAST)(function)
    return result
