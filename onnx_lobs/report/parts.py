"""Makes the parts that reports on a terminal share: labelled facts, and warnings in a frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text


def fact_grid(rows: Iterable[tuple[str, str | Text]]) -> Table:
    """Return labels and values in words, one row each; what is too long for a line is folded."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in rows:
        grid.add_row(label, value if isinstance(value, Text) else Text(value))
    return grid


def warning_panel(warnings: Sequence[str]) -> Iterator[RenderableType]:
    """Yield the warnings in a frame, if there are any."""
    if warnings:
        title = "warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
        text = Text("\n".join(warnings))
        yield ""
        yield Panel(text, title=title, title_align="left", style="bold yellow")
