"""Reads the command line: ``onnx-lobs MODEL.onnx``, and further verbs.

Heavy modules are imported inside the functions that need them, so
that ``--help`` and ``--version`` are fast.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Collection, Sequence
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

import onnx_lobs
from onnx_lobs.cli.help import command_class, program_help
from onnx_lobs.cli.screen import one_line
from onnx_lobs.cli.verb import NAMED, as_command
from onnx_lobs.cli.verbs import VERBS
from onnx_lobs.errors import DataError, LobsError
from onnx_lobs.options.config import OPTIONS
from onnx_lobs.options.prose import long_flag

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
# typer carries a copy of click that is private; its public BadParameter leads to the base of all
# usage errors.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])


class _Verbs(TyperGroup):
    """The verbs; ``prune`` is understood where none is given, and errors take one line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, with_verb(args, self.commands))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(program_help(VERBS))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LobsError as error:
            raise _failed(str(error), error.exit_code) from error
        except _UsageError as error:
            path = error.ctx.command_path if error.ctx else "onnx-lobs"
            text = _alias_hint(error) or error.format_message()
            raise _failed(f"{text.rstrip('.')}; see {path} --help", error.exit_code) from error
        except MemoryError as error:
            remedy = "out of memory; use fewer --samples or a smaller --batch-size"
            raise _failed(remedy, DataError.exit_code) from error
        except KeyboardInterrupt as error:
            raise _failed("interrupted; nothing half-written is left", _INTERRUPTED) from error


def _alias_hint(error: Exception) -> str:
    """Return what an unknown option is called here, where other programs call it so, or nothing."""
    name = str(getattr(error, "option_name", None) or "")
    wanted = name.lstrip("-").replace("-", "_")
    found = [option for option in OPTIONS.values() if wanted in option.aliases]
    return f"No such option: {name}; did you mean {long_flag(found[0])}?" if found else ""


app = typer.Typer(
    cls=_Verbs,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
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
    own = {"-h", "--help", "--version", "--install-completion", "--show-completion", *verbs}
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


_NAMES = [verb.name for verb in VERBS]
for verb in VERBS:
    app.command(verb.name, cls=command_class(verb, NAMED, _NAMES))(as_command(verb))


def _failed(message: str, code: int) -> typer.Exit:
    typer.echo(f"error: {one_line(message)}", err=True)
    return typer.Exit(code)
