"""How a run tells of its advance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from onnx_lobs.errors import ConfigError


@runtime_checkable
class Progress(Protocol):
    """What the pipeline tells about its advance; each phase starts anew and may repeat."""

    def start(self, phase: str, total: int) -> None:
        """Begin a phase of `total` steps."""

    def advance(self, n: int = 1) -> None:
        """Count `n` steps of the present phase."""


class Silent:
    """A Progress that shows nothing."""

    def start(self, phase: str, total: int) -> None:
        """Ignore."""

    def advance(self, n: int = 1) -> None:
        """Ignore."""


class ProgressCalls:
    """A Progress that calls a function with the phase, the steps done, and the steps in all."""

    def __init__(self, function: Callable[[str, int, int], object]) -> None:
        self._function = function
        self._phase, self._done, self._total = "", 0, 0

    def start(self, phase: str, total: int) -> None:
        """Begin a phase of `total` steps."""
        self._phase, self._done, self._total = phase, 0, total
        self._function(phase, 0, total)

    def advance(self, n: int = 1) -> None:
        """Count `n` steps of the present phase."""
        self._done += n
        self._function(self._phase, self._done, self._total)


def as_progress(told: Progress | Callable[[str, int, int], object] | None) -> Progress:
    """Return what tells of a run's advance to an object, a function such as print, or to nobody.

    Parameters
    ----------
    told
        An object with ``start(phase, total)`` and ``advance(n)``, or a function, called as
        ``f(phase, done, total)``; None: nothing is told.

    Raises
    ------
    ConfigError
        When it is neither.
    """
    if told is None:
        return Silent()
    if isinstance(told, type) or not (isinstance(told, Progress) or callable(told)):
        name = told.__name__ if isinstance(told, type) else type(told).__name__
        raise ConfigError(
            f"progress is {name}, which cannot be told of steps; give a function f(phase, done, "
            "total), or an object with start(phase, total) and advance(n)"
        )
    return told if isinstance(told, Progress) else ProgressCalls(told)
