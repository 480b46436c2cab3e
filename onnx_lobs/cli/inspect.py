"""Runs the verb ``inspect``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnx_lobs.cli.files import OUTPUT_PANEL, Files
from onnx_lobs.cli.screen import Screen
from onnx_lobs.cli.verb import Verb
from onnx_lobs.options.config import OPTIONS, PruneConfig
from onnx_lobs.options.option import for_verb, from_plain, options_of


def run(values: Mapping[str, Any]) -> None:
    """List the layers of MODEL, their zeros, and what cannot be pruned and why."""
    config, files = from_plain(PruneConfig, values), from_plain(Files, values)
    show_inspection(files.model, config, from_plain(Screen, values))


def show_inspection(model: Path, config: PruneConfig, screen: Screen) -> bool:
    """Show what the model holds; return whether anything can be pruned."""
    from onnx_lobs.report.inspection import inspection_to_json, render_inspection
    from onnx_lobs.verbs.inspect import inspect

    found = inspect(model, config)
    screen.show(render_inspection(found, verbose=screen.verbose), inspection_to_json(found))
    return bool(found.layers)


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
