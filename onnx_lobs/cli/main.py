"""The command line: ``onnx-lobs MODEL.onnx``, and further verbs.

The only module that prints. Heavy modules are imported inside the functions that need them, so
that ``--help`` and ``--version`` are fast.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperGroup

import onnx_lobs
from onnx_lobs.cli import inputs, machine, targets
from onnx_lobs.cli import options as opt
from onnx_lobs.cli.evaluate import evaluate
from onnx_lobs.cli.options import DEFAULTS
from onnx_lobs.cli.parse import to_config
from onnx_lobs.cli.screen import Screen, one_line, show_warnings
from onnx_lobs.errors import DataError, LobsError, ModelError

if TYPE_CHECKING:
    from onnx_lobs.options.config import PruneConfig

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
# typer carries a copy of click or depends on it, by version; its public BadParameter leads to
# the base of all usage errors either way.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])


class _Verbs(TyperGroup):
    """The verbs; ``prune`` is understood where none is given, and errors take one line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, with_verb(args, self.commands))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LobsError as error:
            raise _failed(str(error), error.exit_code) from error
        except _UsageError as error:
            path = error.ctx.command_path if error.ctx else "onnx-lobs"
            hint = f"{error.format_message().rstrip('.')}; see {path} --help"
            raise _failed(hint, error.exit_code) from error
        except MemoryError as error:
            remedy = "out of memory; use fewer --samples or a smaller --batch-size"
            raise _failed(remedy, DataError.exit_code) from error
        except KeyboardInterrupt as error:
            raise _failed("interrupted; nothing half-written is left", _INTERRUPTED) from error


app = typer.Typer(
    cls=_Verbs,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="onnx-lobs MODEL.onnx [OPTIONS] is short for onnx-lobs prune MODEL.onnx [OPTIONS]; "
    "onnx-lobs prune --help lists the options.",
)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Parameters
    ----------
    args
        Arguments without the program's name; None takes those of the process.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # names of nodes hold any character
    app(list(sys.argv[1:] if args is None else args), prog_name="onnx-lobs")


def with_verb(args: Sequence[str], verbs: Collection[str]) -> list[str]:
    """Put ``prune`` before arguments that name no verb.

    >>> with_verb(["m.onnx", "-s", "0.8"], ["prune", "inspect"])
    ['prune', 'm.onnx', '-s', '0.8']
    >>> with_verb(["inspect", "m.onnx"], ["prune", "inspect"])
    ['inspect', 'm.onnx']
    """
    own = {"-h", "--help", "--version", *verbs}
    return list(args) if not args or args[0] in own else ["prune", *args]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"onnx-lobs {onnx_lobs.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _program(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Prune any ONNX model, one shot, with layer-wise Optimal Brain Surgeon."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(2)


@app.command()
def prune(
    model: opt.Model,
    sparsity: opt.Sparsity = DEFAULTS.sparsity,
    pattern: opt.Pattern = DEFAULTS.pattern,
    max_drop: targets.MaxDrop = DEFAULTS.max_drop,
    max_output_error: targets.MaxOutputError = DEFAULTS.max_output_error,
    max_bytes: targets.MaxBytes = None,
    layer_sparsity: opt.LayerSparsity = opt.NO_TEXTS,
    layer_min: opt.LayerMin = opt.NO_TEXTS,
    layer_max: opt.LayerMax = opt.NO_TEXTS,
    allocation: opt.Allocation = DEFAULTS.allocation,
    budget: opt.Budget = DEFAULTS.budget,
    include: opt.Include = opt.NO_TEXTS,
    exclude: opt.Exclude = opt.NO_TEXTS,
    op_types: opt.OpTypes = opt.OP_TYPES,
    min_weights: opt.MinWeights = DEFAULTS.min_weights,
    method: opt.Method = DEFAULTS.method,
    effort: opt.Effort = DEFAULTS.effort,
    refit: opt.Refit = DEFAULTS.refit,
    sequential: opt.Sequential = DEFAULTS.sequential,
    correct: opt.Correct = DEFAULTS.correct,
    damp: opt.Damp = DEFAULTS.damp,
    provider: machine.Provider = DEFAULTS.provider,
    gram: machine.GramChoice = DEFAULTS.gram,
    memory: machine.Memory = None,
    scratch: machine.ScratchFolder = DEFAULTS.scratch,
    cache: machine.CacheFolder = DEFAULTS.cache,
    seed: opt.Seed = DEFAULTS.seed,
    data: inputs.Data = None,
    test: inputs.Test = None,
    score: inputs.Score = DEFAULTS.score,
    samples: inputs.Samples = DEFAULTS.samples,
    positions: inputs.Positions = str(DEFAULTS.positions),
    batch_size: inputs.BatchSize = DEFAULTS.batch_size,
    input_shapes: inputs.InputShape = opt.NO_TEXTS,
    output: opt.Output = None,
    overwrite: opt.Overwrite = False,
    storage: opt.Storage = DEFAULTS.storage,
    bound: opt.Bound = DEFAULTS.bound,
    report: opt.ReportFile = None,
    as_json: opt.AsJson = False,
    dry_run: opt.DryRun = False,
    verbose: opt.Verbose = False,
    quiet: opt.Quiet = False,
    no_color: opt.NoColor = False,
) -> None:
    """Set most weights of MODEL to zero, and the others so that its outputs change least."""
    config = to_config(locals())
    screen = Screen(as_json, verbose, quiet, no_color)
    if dry_run:
        code = _inspect(model, config, screen)
    else:
        output = output or _beside(model)
        files = Files(model, output, data, test, report, overwrite)
        code = _prune(files, config, screen)
    raise typer.Exit(code)


def _beside(model: Path) -> Path:
    """Return the name of the pruned model where none is given."""
    if not model.name:
        raise ModelError(f"{str(model)!r} is no file; name an ONNX model")
    return model.with_name(f"{model.stem}_pruned.onnx")


@app.command()
def inspect(
    model: opt.Model,
    include: opt.Include = opt.NO_TEXTS,
    exclude: opt.Exclude = opt.NO_TEXTS,
    op_types: opt.OpTypes = opt.OP_TYPES,
    min_weights: opt.MinWeights = DEFAULTS.min_weights,
    as_json: opt.AsJson = False,
    verbose: opt.Verbose = False,
    no_color: opt.NoColor = False,
) -> None:
    """List the layers of MODEL, their zeros, and what cannot be pruned and why."""
    _inspect(model, to_config(locals()), Screen(as_json, verbose, False, no_color))


app.command()(evaluate)


@dataclass(frozen=True)
class Files:
    """What a run reads and writes."""

    model: Path
    output: Path
    data: str | None
    test: str | None
    report: Path | None
    overwrite: bool


def _prune(files: Files, config: PruneConfig, screen: Screen) -> int:
    """Run the pipeline, show and write its report; return the exit code."""
    from onnx_lobs.cli.progress import show_bars
    from onnx_lobs.report.text import render_report
    from onnx_lobs.report.write import check_report, write_report
    from onnx_lobs.verbs.prune import prune_file

    if files.report is not None:
        check_report(files.report, overwrite=files.overwrite)
    with show_bars(screen.console(stderr=True), wanted=not screen.quiet) as progress:
        record = prune_file(
            files.model,
            files.output,
            config,
            data=files.data,
            test=files.test,
            overwrite=files.overwrite,
            progress=progress,
        )
    screen.show(render_report(record, verbose=screen.verbose), record.to_json())
    show_warnings(screen, record.warnings)
    if files.report is not None:
        write_report(files.report, record.to_json())
    is_missed = record.target is not None and not record.target.is_met
    return 0 if record.layers and not is_missed else 1


def _inspect(model: Path, config: PruneConfig, screen: Screen) -> int:
    """Show what the model holds; return 1 when nothing can be pruned."""
    from onnx_lobs.report.inspection import inspection_to_json, render_inspection
    from onnx_lobs.verbs.inspect import inspect as inspect_model

    found = inspect_model(model, config)
    screen.show(render_inspection(found, verbose=screen.verbose), inspection_to_json(found))
    return 0 if found.layers else 1


def _failed(message: str, code: int) -> typer.Exit:
    typer.echo(f"error: {one_line(message)}", err=True)
    return typer.Exit(code)
