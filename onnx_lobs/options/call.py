"""Gives functions that take ``**options`` the signature and the documentation of each option."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter
from typing import Any, TypeVar

from onnx_lobs.errors import ConfigError, near_names
from onnx_lobs.options.option import Option
from onnx_lobs.options.prose import flags_of, python_section

_NEAR = 0.7  # long names are alike by chance

F = TypeVar("F", bound=Callable[..., Any])


def takes_options(options: Mapping[str, Option]) -> Callable[[F], F]:
    """Return a decorator that lists options in the signature and docstring of a function.

    ``help()``, ``inspect.signature`` and interactive shells then show each of them. Programs
    that check types without running anything read :mod:`onnx_lobs.options.keywords` instead.

    Parameters
    ----------
    options
        What the function's ``**options`` may hold. Parameters that it names itself are left as
        they are.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
        names = {parameter.name for parameter in own}
        listed = [option for option in options.values() if option.name not in names]
        given = [
            Parameter(o.name, Parameter.KEYWORD_ONLY, default=o.default, annotation=o.type)
            for o in listed
        ]
        whole = signature.replace(parameters=[*own, *given])
        function.__signature__ = whole  # type: ignore[attr-defined]
        hints = {n: h for n, h in function.__annotations__.items() if n in {*names, "return"}}
        function.__annotations__ = hints | {o.name: o.type for o in listed}
        if function.__doc__:  # Python leaves docstrings out on demand
            section = python_section("Other Parameters", listed)
            function.__doc__ = _with_section(inspect.cleandoc(function.__doc__), section)
        return function

    return decorate


def _with_section(text: str, section: str) -> str:
    """Return a docstring with a section in front of what is raised, as numpydoc orders them."""
    before, raises, rest = text.partition("\n\nRaises\n")
    return f"{before}\n\n{section}{raises}{rest}\n"


def read_options(given: Mapping[str, Any], options: Mapping[str, Option]) -> dict[str, Any]:
    """Return the values that a caller of Python meant, by option.

    Parameters
    ----------
    given
        What was written. Not modified.
    options
        All that there are.

    Raises
    ------
    ConfigError
        When a name is no option's, or a text cannot be understood.
    """
    check_names(given, options)
    return {name: options[name].read(value) for name, value in given.items()}


def check_names(given: Iterable[str], options: Mapping[str, Option]) -> None:
    """Raise ConfigError when a name is no option's; the message names those that are near."""
    for name in given:
        if name not in options:
            near = _near(name, options)
            remedy = f"did you mean {' or '.join(near)}?" if near else ""
            everything = f"the options are {', '.join(options)}"
            raise ConfigError(f"option {name!r} is unknown; {remedy or everything}")


def _near(name: str, options: Mapping[str, Option]) -> list[str]:
    """Return the options whose names, or names on the command line, are near a name."""
    for option in options.values():
        if name in option.aliases:
            return [option.name]
    words = {option: option for option in options}
    for option in options.values():
        flags = flags_of(option)[-1].split("/")
        switched = zip(flags, ("", "=False"), strict=False)
        words |= {f[2:].replace("-", "_"): option.name + end for f, end in switched}
    found = near_names(name, words, _NEAR)
    return list(dict.fromkeys(words[word] for word in found))
