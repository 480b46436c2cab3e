"""Declares and writes the plot of verbs that measure several sparsities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from onnx_lobs.cli.files import OUTPUT_PANEL, Files
from onnx_lobs.cli.screen import Screen
from onnx_lobs.errors import ConfigError
from onnx_lobs.options.config import OPTIONS
from onnx_lobs.options.kinds import PATH
from onnx_lobs.options.option import Option, option, options_of
from onnx_lobs.options.samples import SAMPLE_OPTIONS

SHARED = (  # options of prune that choose layers and data
    "include", "exclude", "op_types", "min_weights", "damp", "seed", "score", "samples",
    "positions", "batch_size", "input_shapes", "provider", "memory", "scratch",
)  # fmt: skip
SEEN = ("report", "as_json", "quiet", "verbose", "log_file", "no_color")


@dataclass(frozen=True, kw_only=True)
class PlotTarget:
    """Where the plot goes."""

    plot: Path | None = option(
        None, "Write the plot to this file.", PATH, metavar="FILE.svg", unset="none",
        panel=OUTPUT_PANEL,
    )  # fmt: skip


def shared_options(*more: str) -> tuple[Option, ...]:
    """Return the options that verbs share which measure several sparsities, and more of prune."""
    files = options_of(Files)
    screen = dict(options_of(Screen, OUTPUT_PANEL))
    screen["report"] = replace(
        screen["report"], help="Write the record to this file too.", metavar="FILE.json"
    )
    return (
        *(files[name] for name in ("model", "data", "test", "overwrite")),
        *(OPTIONS[name] for name in (*SHARED, *SAMPLE_OPTIONS, *more)),
        *options_of(PlotTarget).values(),
        *(screen[name] for name in SEEN),
    )


def check_plot(path: Path | None, *, overwrite: bool) -> None:
    """Refuse a plot that could not be written, before any work is done.

    Raises
    ------
    ConfigError
        When it is no SVG, its folder is not there, or it exists and `overwrite` is False.
    """
    if path is None:
        return
    from onnx_lobs.report.write import check_place

    if path.suffix.lower() != ".svg":
        raise ConfigError(f"plot {str(path)!r} has an unknown form; name it .svg")
    check_place(path, "plot", overwrite=overwrite)
