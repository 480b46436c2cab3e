"""What the tables of all reports share: their style, and names that fit."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

from onnx_lobs.report.names import fit_names

WIDE = 100  # characters
ENDLESS = 1_000_000  # characters, more than a line of any table has


class Name:
    """A name that is shortened where there is no room for all of it; whole in a pipe.

    Parameters
    ----------
    text
        The name; printed as it is, without markup.
    among
        All names of its column, from which it can be told apart when it is shortened.
    """

    least = 8  # characters

    def __init__(self, text: str, among: Sequence[str] = ()) -> None:
        self.text = text
        self.among = tuple(among) or (text,)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        fitted = fit_names(self.among, options.max_width)[self.among.index(self.text)]
        yield Text(fitted, no_wrap=True)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        full = len(self.text)
        least = min(self.least, full) if console.is_terminal else full
        return Measurement(least, full).with_maximum(options.max_width)


class Spaced(Table):
    """A table whose columns stand further apart where there is room; in a pipe there always is."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.padding = (0, 2 if options.max_width >= WIDE else 1, 0, 0)
        if not console.is_terminal:
            for column in self.columns:
                _keep_whole(column)
            options = options.update_width(max(options.max_width, self._whole(console, options)))
        yield from super().__rich_console__(console, options)

    def _whole(self, console: Console, options: ConsoleOptions) -> int:
        """Return the width in which nothing needs to be cut."""
        endless = options.update_width(ENDLESS)
        return Measurement.get(console, endless, self).minimum


def _keep_whole(column: Column) -> None:
    """Give a column of names the width of the longest, which others then do not take from it."""
    lengths = [len(cell.text) for cell in column.cells if isinstance(cell, Name)]
    if lengths:
        column.min_width, column.no_wrap = max(lengths), True


def plain_table(title: str) -> Table:
    """Return an empty table in the house style: no frame, dim heads."""
    return Spaced(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=None,
        pad_edge=False,
    )
