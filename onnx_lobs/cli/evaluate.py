"""Runs the verb ``evaluate``: a pruned model beside the dense one, with a gate for scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from onnx_lobs.cli.files import DATA_PANEL, OUTPUT_PANEL
from onnx_lobs.cli.repeat import repeat_command
from onnx_lobs.cli.screen import Screen, show_warnings
from onnx_lobs.cli.verb import Verb
from onnx_lobs.errors import ConfigError
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.limits import Limits
from onnx_lobs.options.option import argument, for_verb, from_plain, option, options_of
from onnx_lobs.options.verb_options import LIMITS_PANEL, SHARED_OPTIONS
from onnx_lobs.options.word_kinds import PATH, SWITCH, text
from onnx_lobs.report.write import check_reports, write_reports

if TYPE_CHECKING:
    from onnx_lobs.report.evaluation import Evaluation


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What is compared, on which data, and what becomes of a missed limit."""

    dense: Path = argument("The model before. Never changed.", PATH, metavar="DENSE")
    pruned: Path = argument(
        "The model after, with the same inputs and outputs. Never changed.", PATH, metavar="PRUNED"
    )
    data: str | None = option(
        None,
        "Inputs, with or without labels, of any kind that prune takes.",
        text("PATH"),
        flags=("-d", "--data"),
        unset="{stem}_test.npz or test.npz with labels beside DENSE, else what prune takes",
        panel=DATA_PANEL,
    )
    check: bool = option(
        False, "Exit with code 1 when a limit is missed.", SWITCH, panel=LIMITS_PANEL
    )
    overwrite: bool = option(False, "Replace an existing report.", SWITCH, panel=OUTPUT_PANEL)


def run(values: Mapping[str, Any]) -> None:
    """Compare PRUNED with DENSE: output error, cosine, agreement, scores, zeros, sizes."""
    config = from_plain(PruneConfig, {name: values[name] for name in SHARED_OPTIONS})
    limits, compared = from_plain(Limits, values), from_plain(Compared, values)
    screen = from_plain(Screen, values)
    if compared.check and not limits.any:
        raise ConfigError("--check needs a limit: --max-drop, --max-output-error or --min-sparsity")
    if screen.report:
        from onnx_lobs.verbs.places import check_report_apart

        check_reports(screen.report, overwrite=compared.overwrite)
        models = {"the dense model": compared.dense, "the pruned model": compared.pruned}
        check_report_apart(models, compared.data, config, screen.report)
    record = _compare(compared, limits, config, screen, repeat_command(EVALUATE, values))
    write_reports(screen.report, record)
    if screen.as_json or screen.quiet:
        for line in record.missed:
            typer.echo(f"missed: {line}", err=True)
    raise typer.Exit(1 if compared.check and record.missed else 0)


def _compare(
    compared: Compared,
    limits: Limits,
    config: PruneConfig,
    screen: Screen,
    command: tuple[str, ...],
) -> Evaluation:
    """Compare and show the two models; the record holds the command that repeats it."""
    from onnx_lobs.cli.progress import showing
    from onnx_lobs.report.evaluation_text import render_evaluation
    from onnx_lobs.verbs.evaluate import compare

    models = compared.dense, compared.pruned
    with showing(screen) as progress:
        record = compare(
            models, compared.data, config, limits, score=config.score, progress=progress
        )
    record = replace(record, command=command)
    screen.show(render_evaluation(record), record.to_json())
    show_warnings(screen, record.warnings)
    return record


_SCORE = replace(SHARED_OPTIONS["score"], unset="top1 and top5 where there are labels")
EVALUATE = Verb(
    "evaluate",
    run,
    (
        *options_of(Compared).values(),
        *{**SHARED_OPTIONS, "score": _SCORE}.values(),
        *options_of(Limits, LIMITS_PANEL).values(),
        *for_verb(options_of(Screen, OUTPUT_PANEL), "evaluate").values(),
    ),
    summary="compare a pruned model with the dense one",
)
