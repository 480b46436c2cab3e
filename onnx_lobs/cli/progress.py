"""Progress bars on stderr, one for each phase of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)


class Bars:
    """Progress bars that the pipeline drives; a phase that starts again starts its bar again.

    Parameters
    ----------
    progress
        The display, running.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._current: TaskID | None = None

    def start(self, phase: str, total: int) -> None:
        """Begin a phase of `total` steps, such as ``calibrating``."""
        if phase in self._tasks:
            self._progress.reset(self._tasks[phase], total=total)
        else:
            self._tasks[phase] = self._progress.add_task(phase, total=total)
        self._current = self._tasks[phase]

    def advance(self, n: int = 1) -> None:
        """Count `n` steps of the phase that was started last."""
        if self._current is not None:
            self._progress.advance(self._current, n)


@contextmanager
def show_bars(console: Console, *, wanted: bool = True) -> Iterator[Bars | None]:
    """Show bars on a terminal while the context lasts, and remove them after it.

    Parameters
    ----------
    console
        Of stderr. When that is no terminal, or one that cannot move its cursor, nothing is
        shown and the context gives None.
    wanted
        False shows nothing on a terminal either.
    """
    if not wanted or not console.file.isatty() or console.is_dumb_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bars(progress)
