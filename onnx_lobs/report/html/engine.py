"""Fills the templates of pages, by jinja2, which is imported here and only when it is needed."""

from __future__ import annotations

import re
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

import onnx_lobs
from onnx_lobs.errors import ConfigError
from onnx_lobs.report.html.markup import Drawn
from onnx_lobs.report.html.missing import NO_JINJA
from onnx_lobs.report.printable import printable

if TYPE_CHECKING:
    from jinja2 import Environment

_FLAG = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*")
_JOINTS = re.compile(r"[/._:](?=\w)")


def fill(template: str, **values: object) -> str:
    """Return a page: a template of the folder ``templates``, with values and the version in it.

    Every text is escaped, but for :class:`~onnx_lobs.report.html.markup.Drawn`.

    Raises
    ------
    ConfigError
        When jinja2 is not installed.
    """
    return printable(
        _environment().get_template(template).render(version=onnx_lobs.__version__, **values)
    )


@cache
def _environment() -> Environment:
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise ConfigError(NO_JINJA) from error
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    environment.filters["whole_flags"] = _whole_flags
    return environment


def _breakable(name: str) -> Drawn:
    """Return a name escaped, with places where its line may be broken."""
    return Drawn(_JOINTS.sub(r"\g<0><wbr>", escape(name)))


def _whole_flags(text: str) -> Drawn:
    """Return a text escaped, in which no line ends inside the name of an option."""
    return Drawn(_FLAG.sub(r'<span class="flag">\g<0></span>', str(escape(text))))


def _source(name: str) -> str:
    return (files("onnx_lobs.report.html") / "templates" / name).read_text(encoding="utf-8")
