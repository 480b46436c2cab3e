"""What every verb prints, and on which stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


@dataclass(frozen=True)
class Screen:
    """What is printed, and how."""

    as_json: bool
    verbose: bool
    quiet: bool
    no_color: bool

    def console(self, *, stderr: bool = False) -> Console:
        """Return a console that obeys --no-color, NO_COLOR and pipes."""
        from rich.console import Console

        return Console(stderr=stderr, no_color=self.no_color or None, highlight=False)

    def show(self, text: RenderableType, json: str) -> None:
        """Print the one form that was asked for."""
        if self.as_json:
            typer.echo(json)
        elif not self.quiet:
            self.console().print(text)


def show_warnings(screen: Screen, warnings: Sequence[str]) -> None:
    """Print warnings on stderr where the report that holds them is not shown as text."""
    if screen.as_json or screen.quiet:
        for warning in warnings:
            typer.echo(f"warning: {one_line(warning)}", err=True)


def one_line(text: str) -> str:
    """Return a text without line breaks."""
    return " ".join(line.strip() for line in text.splitlines())
