"""Declares and prints what every verb shows, and on which stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from onnx_lobs.options.option import option
from onnx_lobs.options.word_kinds import PATH, PATHS, SWITCH

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


@dataclass(frozen=True, kw_only=True)
class Screen:
    """What is printed, and how."""

    report: tuple[Path, ...] = option(
        (),
        "Write the record to this file too: a page that needs nothing else (.html), Markdown (.md) "
        "or JSON (.json).",
        PATHS,
        metavar="FILE",
        also=("evaluate", "retrain"),
    )
    as_json: bool = option(
        False,
        "Print the record as JSON, and nothing else, on stdout.",
        SWITCH,
        flags=("--json",),
        also=("inspect", "evaluate", "expand", "export-c", "retrain"),
    )
    verbose: bool = option(
        False,
        "List every skipped node, and log on stderr what is done.",
        SWITCH,
        flags=("-v", "--verbose"),
        also=("inspect",),
    )
    quiet: bool = option(
        False,
        "Only warnings and errors; no bars, no report.",
        SWITCH,
        flags=("-q", "--quiet"),
        also=("evaluate", "expand", "export-c", "retrain"),
    )
    log_file: Path | None = option(
        None,
        "Write a log to this file, or add to it: stages, layers, trials, with the time of each.",
        PATH,
        unset="none",
        also=("evaluate", "retrain"),
    )
    no_color: bool = option(
        False,
        "No colour, as with the variable NO_COLOR.",
        SWITCH,
        also=("inspect", "evaluate", "export-c", "guide", "retrain"),
    )

    def console(self, *, stderr: bool = False) -> Console:
        """Return a console that obeys --no-color, NO_COLOR and pipes."""
        from rich.console import Console

        return Console(stderr=stderr, no_color=self.no_color or None, highlight=False)

    def show(self, text: RenderableType, json: str) -> None:
        """Print the one form that was asked for."""
        if self.as_json:
            typer.echo(json)
        elif not self.quiet:
            self.console().print(text, crop=False)  # lines to copy stay in one piece


class WarningsAtOnce:
    """Prints warnings as they come, above the bars of the same console.

    Parameters
    ----------
    console
        Of stderr.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.texts: list[str] = []

    def show(self, text: str) -> None:
        """Print a warning."""
        self.texts.append(text)
        line = f"warning: {one_line(text)}"
        self._console.print(line, markup=False, soft_wrap=True, style="yellow")


def show_warnings(screen: Screen, warnings: Sequence[str]) -> None:
    """Print warnings on stderr where the report that holds them is not shown as text."""
    if screen.as_json or screen.quiet:
        for warning in warnings:
            typer.echo(f"warning: {one_line(warning)}", err=True)


def one_line(text: str) -> str:
    """Return a text without line breaks."""
    return " ".join(line.strip() for line in text.splitlines())
