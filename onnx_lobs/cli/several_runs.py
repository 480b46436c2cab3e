"""Declares what verbs share that measure several sparsities, and carries them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from onnx_lobs.cli.files import OUTPUT_PANEL, Files
from onnx_lobs.cli.screen import Screen, show_warnings
from onnx_lobs.errors import ConfigError
from onnx_lobs.options.config import OPTIONS, PruneConfig
from onnx_lobs.options.option import Option, from_plain, option, options_of
from onnx_lobs.options.samples import SAMPLE_OPTIONS
from onnx_lobs.options.word_kinds import PATH

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnx_lobs.report.progress import Progress
    from onnx_lobs.report.several_runs import SeveralRuns

R = TypeVar("R", bound="SeveralRuns")
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


def measure_and_show(
    values: Mapping[str, Any],
    measure: Callable[[Files, PruneConfig, Progress | None], R],
    render: Callable[[R], RenderableType],
    draw: Callable[[R], str],
) -> None:
    """Carry out a verb: check where its files go, measure, show and write what was found.

    Parameters
    ----------
    values
        The plain forms of all options by name.
    measure
        Returns the record.
    render, draw
        Return it as text for the terminal, and as an SVG.
    """
    from onnx_lobs.cli.progress import showing
    from onnx_lobs.report.write import check_reports, write_report
    from onnx_lobs.verbs.places import check_report_apart

    config, files = from_plain(PruneConfig, values), from_plain(Files, values)
    screen, plot = from_plain(Screen, values), from_plain(PlotTarget, values).plot
    check_plot(plot, overwrite=files.overwrite)
    if screen.report:
        check_reports(screen.report, overwrite=files.overwrite, forms=(".json",))
        check_report_apart({"the model": files.model}, files.data, config, screen.report)
    with showing(screen) as progress:
        record = measure(files, config, progress)
    screen.show(render(record), record.to_json())
    show_warnings(screen, record.warnings)
    for path in screen.report:
        write_report(path, record.to_json())
    if plot is not None:
        write_report(plot, draw(record))


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
