"""Writes the help: of the program on one screen, and of a verb its most used options first.

``--help-all`` behind a verb lists everything, in panels.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from onnx_lobs.cli.words import check_words
from onnx_lobs.options.option import Option
from onnx_lobs.options.prose import flags_of, help_text, with_flags

if TYPE_CHECKING:
    from onnx_lobs.cli.verb import Verb

WIDTH = 80  # columns of the smallest terminal
_INDENT = 27  # of what options do, behind their names
FEW = 12  # options that a verb may have for its help to list them all

EXAMPLES = (
    "onnx-lobs model.onnx -d samples.npz -s 0.8",
    "onnx-lobs model.onnx -d samples.npz --test labelled.npz --max-drop 0.01",
    "onnx-lobs evaluate model.onnx model_pruned.onnx -d labelled.npz",
)


def program_help(verbs: Sequence[Verb]) -> str:
    """Return the help of the program: what it does, its verbs, examples; at most 24 lines."""
    width = max(len(verb.name) for verb in verbs)
    lines = [
        "Usage: onnx-lobs MODEL.onnx [OPTIONS]     (short for onnx-lobs prune MODEL.onnx)",
        "       onnx-lobs VERB ...",
        "",
        "Prune any ONNX model, one shot, with layer-wise Optimal Brain Surgeon.",
        "",
        *(f"  {verb.name:{width}}  {summary_of(verb, WIDTH - width - 4)}" for verb in verbs),
        "",
        "Examples:",
        *(f"  {example}" for example in EXAMPLES),
        "",
        "onnx-lobs VERB --help lists the options of a verb; --version prints the version;",
        "--install-completion teaches your shell to complete names.",
    ]
    return "\n".join(lines)


def summary_of(verb: Verb, width: int) -> str:
    """Return what a verb does, on one line."""
    text = verb.summary or str(verb.run.__doc__).partition("\n")[0].rstrip(".")
    return textwrap.shorten(text, width, placeholder=" ...")


def short_help(verb: Verb, named: Mapping[str, Option]) -> str:
    """Return the help of a verb with its most used options only.

    Parameters
    ----------
    verb
        The verb.
    named
        All options that texts may name.
    """
    ordered = verb.ordered()
    arguments = [f"[{o.metavar}]" if o.has_default else o.metavar for o in ordered if o.is_argument]
    used = [option for option in ordered if option.rank]
    lines = [
        f"Usage: onnx-lobs {verb.name} {' '.join(arguments)} [OPTIONS]",
        "",
        *textwrap.wrap(str(verb.run.__doc__), WIDTH),
        "",
        *(line for option in used for line in _entry(option, named)),
        "",
        f"{len(verb.options) - len(arguments) - len(used)} more options: "
        f"onnx-lobs {verb.name} --help-all",
    ]
    return "\n".join(lines)


def is_long(verb: Verb) -> bool:
    """Whether a verb has so many options that its help shows the most used only."""
    return len(verb.options) > FEW and any(option.rank for option in verb.options)


def _entry(option: Option, named: Mapping[str, Option]) -> list[str]:
    """Return the lines of an option: its names, and what it is."""
    metavar = option.metavar or option.kind.metavar
    names = ", ".join(flags_of(option))
    head = f"  {names} {metavar}".rstrip()
    text = with_flags(option.brief or help_text(option), named)
    wrapped = textwrap.wrap(text, WIDTH - _INDENT)
    if len(head) >= _INDENT - 1:
        head = f"  {names}"
    first, *rest = wrapped
    return [f"{head:{_INDENT}}{first}", *(" " * _INDENT + line for line in rest)]


def show_all(ctx: typer.Context, _parameter: Any, wanted: bool) -> None:
    """Print the whole help of a verb and leave, if it is wanted."""
    if wanted and not ctx.resilient_parsing:
        ctx.meta[__name__] = True
        ctx.get_help()  # in panels, which typer prints itself
        raise typer.Exit


def command_class(
    verb: Verb, named: Mapping[str, Option], verbs: Collection[str]
) -> type[TyperCommand]:
    """Return the class of a verb's command, whose help is short where there are many options."""
    written = (flag for option in verb.options for flag in flags_of(option))
    flags = {flag for both in written for flag in both.split("/")}

    class VerbCommand(TyperCommand):
        """A command whose help fits a screen, and that says what words too many were for."""

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            ctx.allow_extra_args = True
            rest = super().parse_args(ctx, args)
            if not ctx.resilient_parsing:
                check_words(verb.name, ctx.params, ctx.args, verbs, flags)
            return rest

        def format_help(self, ctx: Any, formatter: Any) -> None:
            if is_long(verb) and not ctx.meta.get(__name__):
                formatter.write(short_help(verb, named))
            else:
                super().format_help(ctx, formatter)

    return VerbCommand
