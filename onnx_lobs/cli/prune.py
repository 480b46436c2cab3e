"""Runs the verb ``prune``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from onnx_lobs.cli.files import OUTPUT_PANEL, Files
from onnx_lobs.cli.inspect import show_inspection
from onnx_lobs.cli.repeat import repeat_command
from onnx_lobs.cli.screen import Screen, WarningsAtOnce, show_warnings
from onnx_lobs.cli.verb import Verb
from onnx_lobs.errors import ModelError
from onnx_lobs.options.config import OPTIONS, PruneConfig
from onnx_lobs.options.option import from_plain, options_of
from onnx_lobs.targets.runtimes import fill_options

if TYPE_CHECKING:
    from onnx_lobs.report.record import Report


def run(values: Mapping[str, Any]) -> None:
    """Set most weights of MODEL to zero, and the others so that its outputs change least."""
    config, files = from_plain(PruneConfig, values), from_plain(Files, values)
    screen = from_plain(Screen, values)
    if files.dry_run:
        _show_plan(files, config, screen)
        return
    record = _prune(files, config, screen, repeat_command(PRUNE, values))
    is_missed = record.target is not None and not record.target.is_met
    is_too_big = record.deploy is not None and record.deploy.fit == "TOO BIG"
    raise typer.Exit(0 if record.layers and not (is_missed or is_too_big) else 1)


def _show_plan(files: Files, config: PruneConfig, screen: Screen) -> None:
    """Show the layers that would be pruned, and what that would take; write nothing."""
    from onnx_lobs.report.plan import render_plan
    from onnx_lobs.verbs.dry_run import dry_run

    if not screen.as_json:
        show_inspection(files.model, config, screen)
    output = files.output or _beside(files.model)
    plan = dry_run(files.model, output, config, data=files.data, test=files.test)
    screen.show(render_plan(plan), plan.to_json())
    show_warnings(screen, plan.warnings)


def _prune(files: Files, config: PruneConfig, screen: Screen, command: tuple[str, ...]) -> Report:
    """Run the pipeline, show and write its report, which holds the command that repeats it."""
    from onnx_lobs.cli.progress import showing
    from onnx_lobs.report.text import render_report
    from onnx_lobs.report.write import check_reports, write_reports
    from onnx_lobs.verbs.prune import prune_file

    output = files.output or _beside(files.model)
    check_reports(screen.report, overwrite=files.overwrite)
    console = screen.console(stderr=True)
    told = WarningsAtOnce(console)
    with showing(screen, console) as progress:
        record = prune_file(
            files.model,
            output,
            config,
            data=files.data,
            test=files.test,
            overwrite=files.overwrite,
            report=screen.report,
            progress=progress,
            warn=told.show,
        )
    record = replace(record, command=command)
    screen.show(render_report(record, verbose=screen.verbose), record.to_json())
    show_warnings(screen, [text for text in record.warnings if text not in told.texts])
    write_reports(screen.report, record)
    return record


def _beside(model: Path) -> Path:
    """Return the name of the pruned model where none is given."""
    if not model.name:
        raise ModelError(f"{str(model)!r} is no file; name an ONNX model")
    return model.with_name(f"{model.stem}_pruned.onnx")


PRUNE = Verb(
    "prune",
    run,
    (
        *OPTIONS.values(),
        *options_of(Files).values(),
        *options_of(Screen, OUTPUT_PANEL).values(),
    ),
    summary="prune a model (what is done without a verb)",
    reads_file=True,
    fill=fill_options,
)
