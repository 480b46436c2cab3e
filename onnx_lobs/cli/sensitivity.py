"""Runs the verb ``sensitivity``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnx_lobs.cli.files import Files
from onnx_lobs.cli.plot import PlotTarget, check_plot, shared_options
from onnx_lobs.cli.screen import Screen, show_warnings
from onnx_lobs.cli.verb import Verb
from onnx_lobs.options.checks import check_sparsity, each
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.kinds import number_list
from onnx_lobs.options.option import from_plain, option, options_of


@dataclass(frozen=True, kw_only=True)
class SensitivityLevels:
    """At which sparsities errors are measured."""

    sparsities: tuple[float, ...] = option(
        (0.3, 0.5, 0.7, 0.8, 0.9, 0.95), "Sparsities at which errors and the score are measured.",
        number_list(each(check_sparsity)), flags=("-s", "--sparsity"), panel="What is measured",
        rank=1,
    )  # fmt: skip


def run(values: Mapping[str, Any]) -> None:
    """Tell errors and the score of MODEL against sparsity, for each layer and the whole network."""
    from onnx_lobs.cli.progress import showing
    from onnx_lobs.report.sensitivity import plot_sensitivity, render_sensitivity
    from onnx_lobs.report.write import check_reports, write_report
    from onnx_lobs.verbs.places import check_report_apart
    from onnx_lobs.verbs.sensitivity import sensitivity

    config, files = from_plain(PruneConfig, values), from_plain(Files, values)
    screen, plot = from_plain(Screen, values), from_plain(PlotTarget, values).plot
    levels = from_plain(SensitivityLevels, values).sparsities
    check_plot(plot, overwrite=files.overwrite)
    if screen.report:
        check_reports(screen.report, overwrite=files.overwrite, forms=(".json",))
        check_report_apart({"the model": files.model}, files.data, config, screen.report)
    with showing(screen) as progress:
        record = sensitivity(
            files.model, files.data, config, sparsities=levels, test=files.test, progress=progress
        )
    screen.show(render_sensitivity(record), record.to_json())
    show_warnings(screen, record.warnings)
    for path in screen.report:
        write_report(path, record.to_json())
    if plot is not None:
        write_report(plot, plot_sensitivity(record))


SENSITIVITY = Verb(
    "sensitivity",
    run,
    (*shared_options("pattern"), *options_of(SensitivityLevels).values()),
    summary="errors and score against sparsity, per layer and in all",
)
