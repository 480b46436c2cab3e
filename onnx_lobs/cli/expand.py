"""Runs the verb ``expand``: a packed model as a dense one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from onnx_lobs.cli.files import OUTPUT_PANEL
from onnx_lobs.cli.screen import Screen
from onnx_lobs.cli.verb import Verb
from onnx_lobs.options.option import argument, for_verb, from_plain, option, options_of
from onnx_lobs.options.word_kinds import PATH, SWITCH, choice

KEPT, FLOAT = "stored", "fp32"


@dataclass(frozen=True, kw_only=True)
class Expanding:
    """What is expanded, and where it goes."""

    model: Path = argument("ONNX file. Never changed.", PATH, metavar="MODEL")
    output: Path | None = option(
        None,
        "File written.",
        PATH,
        flags=("-o", "--output"),
        unset="{stem}_expanded.onnx beside MODEL",
        panel=OUTPUT_PANEL,
    )
    values: str = option(
        KEPT,
        "What becomes of int8 and float16 values: they stay, in dense tensors, or become the "
        "floating values that the model makes of them.",
        choice((KEPT, FLOAT), "values"),
        panel=OUTPUT_PANEL,
    )
    overwrite: bool = option(False, "Replace an existing output.", SWITCH, panel=OUTPUT_PANEL)


def run(values: Mapping[str, Any]) -> None:
    """Write MODEL, which is sparse or packed, with dense weights of the same bits."""
    from onnx_lobs.verbs.expand import expand_file

    asked, screen = from_plain(Expanding, values), from_plain(Screen, values)
    output = asked.output or asked.model.with_name(f"{asked.model.stem}_expanded.onnx")
    found = expand_file(
        asked.model, output, to_float=asked.values == FLOAT, overwrite=asked.overwrite
    )
    if screen.as_json:
        typer.echo(json.dumps(dataclasses.asdict(found)))
    elif not screen.quiet:
        typer.echo(
            f"expanded {found.sparse} sparse and {found.packed} packed weights, made "
            f"{found.widened} floating; written to {found.output}, {found.n_bytes:,} bytes"
        )


EXPAND = Verb(
    "expand",
    run,
    (
        *options_of(Expanding).values(),
        *for_verb(options_of(Screen, OUTPUT_PANEL), "expand").values(),
    ),
    summary="write a sparse or packed model with dense weights again",
)
