"""Runs the verb ``export-c``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from onnx_lobs.cli.files import DATA_PANEL, OUTPUT_PANEL
from onnx_lobs.cli.screen import Screen, show_warnings
from onnx_lobs.cli.verb import Verb
from onnx_lobs.options.config import OPTIONS, PruneConfig
from onnx_lobs.options.option import argument, for_verb, from_plain, option, options_of
from onnx_lobs.options.word_kinds import PATH, SWITCH, choice, text

_SHARED = {name: OPTIONS[name] for name in ("samples", "seed", "input_shapes", "optimise")}


@dataclass(frozen=True, kw_only=True)
class CFilesWanted:
    """What is written as C, from which samples, and for what."""

    model: Path = argument("ONNX file. Never changed.", PATH, metavar="MODEL")
    data: str | None = option(
        None,
        "Samples from which the 8-bit grids come: as for prune.",
        text("PATH"),
        flags=("-d", "--data"),
        unset="what lies beside MODEL, else made up",
        panel=DATA_PANEL,
    )
    output: Path | None = option(
        None,
        "Folder of the files.",
        PATH,
        flags=("-o", "--output"),
        metavar="FOLDER",
        unset="{stem}_c beside MODEL",
        panel=OUTPUT_PANEL,
    )
    values: str = option(
        "int8", "Weights and activations.", choice(("int8", "fp32")), panel=OUTPUT_PANEL
    )
    ranges: str = option(
        "minmax",
        "What of the values seen the 8-bit grids hold: all, all but outliers, or what keeps most "
        "information.",
        choice(("minmax", "percentile", "entropy")),
        panel=DATA_PANEL,
    )
    chip: str | None = option(
        None,
        "A part to compare with, by name or as flash=1MB,ram=256KB; code 1 if it is too small.",
        text("PART"),
        panel=OUTPUT_PANEL,
    )
    overwrite: bool = option(False, "Replace existing files.", SWITCH, panel=OUTPUT_PANEL)


def run(values: Mapping[str, Any]) -> None:
    """Write MODEL as C for a microcontroller, its zeros left out."""
    from onnx_lobs.report.c_export_text import render_c_export
    from onnx_lobs.targets.chips import Fit, read_chip
    from onnx_lobs.verbs.c_code import CWanted
    from onnx_lobs.verbs.export_c import export_c

    wanted, screen = from_plain(CFilesWanted, values), from_plain(Screen, values)
    config = from_plain(PruneConfig, {name: values[name] for name in _SHARED})
    chip = None if wanted.chip is None else read_chip(wanted.chip)
    record = export_c(
        wanted.model,
        wanted.output or wanted.model.with_name(f"{wanted.model.stem}_c"),
        data=wanted.data,
        wanted=CWanted(wanted.values, config.optimise, wanted.ranges, chip),
        config=config,
        overwrite=wanted.overwrite,
    )
    screen.show(render_c_export(record), record.to_json())
    show_warnings(screen, record.warnings)
    raise typer.Exit(1 if record.fit is Fit.TOO_BIG else 0)


EXPORT_C = Verb(
    "export-c",
    run,
    (
        *options_of(CFilesWanted).values(),
        *_SHARED.values(),
        *for_verb(options_of(Screen, OUTPUT_PANEL), "export-c").values(),
    ),
    summary="write a model as C for a microcontroller",
)
