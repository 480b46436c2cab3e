"""Describes a verb by its options, and makes of it the function that typer reads.

This module and all that it imports are light, so that ``--help`` is fast.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer

from onnx_lobs.cli.config_file import take_file
from onnx_lobs.cli.files import Files
from onnx_lobs.cli.help import is_long, show_all
from onnx_lobs.options.config import OPTIONS, PANELS
from onnx_lobs.options.option import Option, options_of
from onnx_lobs.options.prose import flags_of, help_text, with_flags

MOST_USED = "Most used"
HELP_ALL, CONFIG_FILE = "help_all", "config_file"
CONTEXT = "context"
OWN = (HELP_ALL, CONFIG_FILE)  # parameters that are no options of a run
NAMED = {**OPTIONS, **options_of(Files)}  # options that texts may name


@dataclass(frozen=True)
class Verb:
    """One verb.

    Parameters
    ----------
    name
        As it is written on the command line.
    run
        Does it, with the plain forms of all options by name. Its docstring is the verb's help.
    options
        What it takes.
    summary
        What it does, in a few words, for the list of verbs; empty: the start of its help.
    reads_file
        Whether ``-c FILE`` gives it values.
    fill
        Completes the values, given the names of those that the user wrote; None: they stay.
    """

    name: str
    run: Callable[[Mapping[str, Any]], None]
    options: tuple[Option, ...]
    summary: str = ""
    reads_file: bool = False
    fill: Callable[[Mapping[str, Any], Collection[str]], Mapping[str, Any]] | None = None

    def ordered(self) -> list[Option]:
        """Return the options as they are listed: arguments, the most used, then by panel.

        Panels that only this verb has come before those of ``prune``.
        """
        arguments = [o for o in self.options if o.is_argument]
        used = sorted((o for o in self.options if o.rank), key=lambda option: option.rank)
        rest = [o for o in self.options if not (o.rank or o.is_argument)]
        own = [o for o in rest if o.panel not in PANELS]
        shared = [o for panel in PANELS for o in rest if o.panel == panel]
        return [*arguments, *(replace(o, panel=MOST_USED) for o in used), *own, *shared]


def as_command(verb: Verb) -> Callable[..., None]:
    """Return the function of a verb, with a parameter for each option."""

    def run(**values: Any) -> None:
        context = values.pop(CONTEXT, None)
        plain: Mapping[str, Any] = {n: value for n, value in values.items() if n not in OWN}
        if verb.fill is not None and context is not None:
            plain = verb.fill(plain, [name for name in plain if _is_given(context, name)])
        verb.run(plain)

    parameters = [
        Parameter(
            option.name,
            Parameter.KEYWORD_ONLY,
            default=option.plain_default if option.has_default else Parameter.empty,
            annotation=Annotated[_type(option), _typer_info(option)],
        )
        for option in verb.ordered()
    ]
    if verb.fill is not None:
        parameters.append(Parameter(CONTEXT, Parameter.KEYWORD_ONLY, annotation=typer.Context))
    if is_long(verb):
        parameters.append(_help_all())
    if verb.reads_file:
        parameters.append(_config_file(verb))
    run.__doc__ = verb.run.__doc__
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return run


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether the user wrote an option, on the command line or in a file."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _help_all() -> Parameter:
    """Return the parameter that prints the whole help."""
    declared = typer.Option(
        "--help-all", is_eager=True, callback=show_all, help="Show all options and exit."
    )
    return Parameter(
        HELP_ALL, Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, declared]
    )


def _config_file(verb: Verb) -> Parameter:
    """Return the parameter that names a TOML file with values for the others."""
    options = {option.name: option for option in verb.options}

    def read(ctx: typer.Context, value: Path | None) -> None:
        take_file(ctx, value, options)

    declared = typer.Option(
        "-c", "--config", metavar="FILE.toml", is_eager=True, callback=read,
        help="Take options from this file, which `onnx-lobs config` writes; those of the command "
        "line win.", show_default=False,
    )  # fmt: skip
    return Parameter(
        CONFIG_FILE,
        Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Path | None, declared],
    )


def _type(option: Option) -> Any:
    """Return the type of what typer hands over."""
    native = option.kind.native
    if option.kind.is_repeated:
        return list[native]  # type: ignore[valid-type]
    return native | None if option.has_default and option.plain_default is None else native


def _typer_info(option: Option) -> Any:
    text = with_flags(help_text(option), NAMED)
    metavar = option.metavar or option.kind.metavar or None
    if option.is_argument:
        return typer.Argument(metavar=metavar, help=text, show_default=False)
    default = option.plain_default
    return typer.Option(
        *flags_of(option),
        metavar=metavar,
        help=text,
        show_default=not (default is None or default is False or default == []),
        rich_help_panel=option.panel,
        autocompletion=_completes(option),
    )


def _completes(option: Option) -> Callable[[str], list[str]] | None:
    """Return what completes a value in shells; None leaves it to them, as names of files."""
    names = option.kind.names
    return (
        (lambda incomplete: [name for name in names if name.startswith(incomplete)])
        if names
        else None
    )
