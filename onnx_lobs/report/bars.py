"""Shows progress bars, one for each phase of a run, with the time left and memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from onnx_lobs.memory.resident import resident_bytes
from onnx_lobs.report.numbers import format_bytes

_BAR = 12  # characters: of 80, names of stages take up to 42


class MemoryColumn(ProgressColumn):
    """Shows the memory of the process beside the phase that is running."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Return the memory as text; nothing where the phase has ended or nothing tells it."""
        held = None if task.finished else resident_bytes()
        return Text("" if held is None else format_bytes(held), no_wrap=True)


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
def showing_bars(console: Console) -> Iterator[Bars]:
    """Show bars while the context lasts, and remove them after it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(_BAR),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        MemoryColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bars(progress)
