"""Runs the verb ``guide``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import typer

from onnx_lobs.cli.screen import Screen
from onnx_lobs.cli.verb import Verb
from onnx_lobs.options.option import for_verb, from_plain, option, options_of
from onnx_lobs.options.word_kinds import text
from onnx_lobs.verbs.guide import list_topics, read_topic


@dataclass(frozen=True, kw_only=True)
class Topic:
    """What is to be read."""

    topic: str | None = option(
        None, "A page of the guide. Without one, the topics are listed.", text("TOPIC"),
        is_argument=True,
    )  # fmt: skip


def run(values: Mapping[str, Any]) -> None:
    """Read the guide that comes with the program: its topics, or one of them."""
    wanted, screen = from_plain(Topic, values), from_plain(Screen, values)
    if wanted.topic is None:
        topics = list_topics()
        width = max(map(len, topics))
        for name, title in topics.items():
            typer.echo(f"{name:{width}}  {title}")
        return
    page = read_topic(wanted.topic)
    console = screen.console()
    if console.is_terminal:
        from rich.markdown import Markdown

        console.print(Markdown(page))
    else:
        typer.echo(page, nl=False)


GUIDE = Verb(
    "guide",
    run,
    (*options_of(Topic).values(), *for_verb(options_of(Screen, "Output"), "guide").values()),
    summary="read the guide",
)
