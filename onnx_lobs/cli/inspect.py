"""Runs the verb ``inspect``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from onnx_lobs.cli.files import OUTPUT_PANEL, Files
from onnx_lobs.cli.screen import Screen
from onnx_lobs.cli.verb import Verb
from onnx_lobs.options.config import OPTIONS, PruneConfig
from onnx_lobs.options.option import for_verb, from_plain, options_of

if TYPE_CHECKING:
    from onnx_lobs.verbs.inspect import Inspection


def run(values: Mapping[str, Any]) -> None:
    """List what MODEL holds: layers, zeros, work, what is left and why; check --pattern."""
    from onnx_lobs.data.kinds.table import check_read

    config, files = from_plain(PruneConfig, values), from_plain(Files, values)
    check_read(config, (files.data,))
    found = show_inspection(files.model, config, from_plain(Screen, values), files.data)
    raise typer.Exit(0 if found.is_met else 1)


def show_inspection(
    model: Path, config: PruneConfig, screen: Screen, data: str | None = None
) -> Inspection:
    """Show what the model holds, and return it."""
    from onnx_lobs.report.inspection import inspection_to_json, render_inspection
    from onnx_lobs.verbs.inspect import inspect

    found = inspect(model, config, data)
    screen.show(render_inspection(found, verbose=screen.verbose), inspection_to_json(found))
    return found


INSPECT = Verb(
    "inspect",
    run,
    (
        *for_verb(options_of(Files), "inspect").values(),
        *for_verb(OPTIONS, "inspect").values(),
        *for_verb(options_of(Screen, OUTPUT_PANEL), "inspect").values(),
    ),
    summary="list layers, zeros, and what cannot be pruned and why",
)
