"""Fills the templates of pages, by jinja2, which is imported here and only when it is needed."""

from __future__ import annotations

import re
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from onnx_lobs.errors import ConfigError
from onnx_lobs.report.html.markup import Drawn
from onnx_lobs.report.html.missing import NO_JINJA
from onnx_lobs.report.printable import printable

if TYPE_CHECKING:
    from jinja2 import Environment

_JOINTS = re.compile(r"[/._:](?=\w)")


def fill(template: str, **values: object) -> str:
    """Return a page: a template of the folder ``templates``, with values in it.

    Every text is escaped, but for :class:`~onnx_lobs.report.html.markup.Drawn`.

    Raises
    ------
    ConfigError
        When jinja2 is not installed.
    """
    return printable(_environment().get_template(template).render(**values))


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
    return environment


def _breakable(name: str) -> Drawn:
    """Return a name escaped, with places where its line may be broken."""
    return Drawn(_JOINTS.sub(r"\g<0><wbr>", escape(name)))


def _source(name: str) -> str:
    return (files("onnx_lobs.report.html") / "templates" / name).read_text(encoding="utf-8")
