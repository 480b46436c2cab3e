"""The verb ``evaluate``: a pruned model beside the dense one, with a gate for scripts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnx_lobs.cli import inputs, machine
from onnx_lobs.cli import options as opt
from onnx_lobs.cli.options import DEFAULTS
from onnx_lobs.cli.parse import to_config
from onnx_lobs.cli.screen import Screen, show_warnings
from onnx_lobs.errors import ConfigError
from onnx_lobs.report.evaluation import Limits
from onnx_lobs.report.write import check_report, write_report

if TYPE_CHECKING:
    from onnx_lobs.options.config import PruneConfig
    from onnx_lobs.report.evaluation import Evaluation

_LIMITS = "Limits"


def _limit(name: str, metavar: str, text: str) -> Any:
    return typer.Option(
        name, metavar=metavar, help=text, show_default=False, rich_help_panel=_LIMITS
    )


Dense = Annotated[
    Path,
    typer.Argument(metavar="DENSE", help="The model before. Never changed.", show_default=False),
]
Pruned = Annotated[
    Path,
    typer.Argument(
        metavar="PRUNED",
        help="The model after, with the same inputs and outputs. Never changed.",
        show_default=False,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "-d",
        "--data",
        metavar="PATH",
        help="Inputs, with or without 'label': an npz of stacked arrays by input name, an npy, a "
        "folder of such files, or test_data_set_* folders. Default: {stem}_test.npz or test.npz "
        "with labels beside DENSE, else what prune takes.",
        show_default=False,
        rich_help_panel=inputs.DATA_PANEL,
    ),
]
Score = Annotated[
    str | None,
    typer.Option(
        "--score",
        metavar=inputs.SCORE_KINDS,
        help=f"{inputs.SCORE_HELP} Default: top1 and top5 where there are labels.",
        show_default=False,
        rich_help_panel=inputs.DATA_PANEL,
    ),
]
Check = Annotated[
    bool,
    typer.Option(
        "--check", help="Exit with code 1 when a limit is missed.", rich_help_panel=_LIMITS
    ),
]
MaxDrop = Annotated[
    float | None,
    _limit("--max-drop", "X", "Most that the score may drop: 0.01 is one point of top1."),
]
MaxOutputError = Annotated[
    float | None, _limit("--max-output-error", "E", "Largest relative output error.")
]
MinSparsity = Annotated[
    float | None,
    _limit("--min-sparsity", "FRACTION", "Fewest zeros among PRUNED's prunable weights."),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace an existing report.", rich_help_panel=opt.OUTPUT_PANEL
    ),
]


def evaluate(
    dense: Dense,
    pruned: Pruned,
    data: Data = None,
    score: Score = None,
    samples: inputs.Samples = DEFAULTS.samples,
    batch_size: inputs.BatchSize = DEFAULTS.batch_size,
    input_shapes: inputs.InputShape = opt.NO_TEXTS,
    seed: opt.Seed = DEFAULTS.seed,
    check: Check = False,
    max_drop: MaxDrop = None,
    max_output_error: MaxOutputError = None,
    min_sparsity: MinSparsity = None,
    provider: machine.Provider = DEFAULTS.provider,
    memory: machine.Memory = None,
    report: opt.ReportFile = None,
    overwrite: Overwrite = False,
    as_json: opt.AsJson = False,
    quiet: opt.Quiet = False,
    no_color: opt.NoColor = False,
) -> None:
    """Compare PRUNED with DENSE: output error, cosine, agreement, scores, zeros, sizes."""
    config = to_config(locals())
    limits = Limits(max_drop, max_output_error, min_sparsity)
    if check and not limits.any:
        raise ConfigError("--check needs a limit: --max-drop, --max-output-error or --min-sparsity")
    screen = Screen(as_json, False, quiet, no_color)
    if report is not None:
        check_report(report, overwrite=overwrite)
    record = _evaluate((dense, pruned), data, limits, config, screen)
    if report is not None:
        write_report(report, record.to_json())
    if screen.as_json or screen.quiet:
        for line in record.missed:
            typer.echo(f"missed: {line}", err=True)
    raise typer.Exit(1 if check and record.missed else 0)


def _evaluate(
    models: tuple[Path, Path], data: str | None, limits: Limits, config: PruneConfig, screen: Screen
) -> Evaluation:
    """Compare and show the two models."""
    from onnx_lobs.cli.progress import show_bars
    from onnx_lobs.report.evaluation_text import render_evaluation
    from onnx_lobs.verbs.evaluate import evaluate

    with show_bars(screen.console(stderr=True), wanted=not screen.quiet) as progress:
        record = evaluate(
            *models,
            data,
            score=config.score,
            max_drop=limits.max_drop,
            max_output_error=limits.max_output_error,
            min_sparsity=limits.min_sparsity,
            samples=config.samples,
            batch_size=config.batch_size,
            seed=config.seed,
            provider=config.provider,
            input_shapes=config.input_shapes,
            memory=config.memory,
            progress=progress,
        )
    screen.show(render_evaluation(record), record.to_json())
    show_warnings(screen, record.warnings)
    return record
