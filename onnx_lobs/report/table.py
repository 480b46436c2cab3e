"""What the tables of all reports share: their style, and names that fit."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from onnx_lobs.report.numbers import shorten

WIDE = 100  # characters


class Name:
    """A name that gives up its middle where there is no room for all of it.

    Parameters
    ----------
    text
        The name; printed as it is, without markup.
    """

    least = 8  # characters

    def __init__(self, text: str) -> None:
        self.text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(shorten(self.text, options.max_width), no_wrap=True)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        full = len(self.text)
        return Measurement(min(self.least, full), full).with_maximum(options.max_width)


class Spaced(Table):
    """A table whose columns stand further apart where there is room."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.padding = (0, 2 if options.max_width >= WIDE else 1, 0, 0)
        yield from super().__rich_console__(console, options)


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
