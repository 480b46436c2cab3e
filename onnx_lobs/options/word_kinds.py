"""Knows the kinds of values that are words: texts, choices, names of files, switches."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.checks import Check, accept, each, one_of
from onnx_lobs.options.given import as_choice, name_of, read_texts, unboxed
from onnx_lobs.options.value_kind import ValueKind, text_kind

SWITCH = ValueKind("", bool, read=unboxed, types=(bool,), words="True or False")
PATH = ValueKind("FILE", Path, to_plain=str, from_plain=lambda _name, plain: Path(plain))


PATHS = ValueKind(
    "FILE",
    Path,
    to_plain=lambda paths: [str(path) for path in paths],
    from_plain=lambda _name, plain: tuple(map(Path, plain)),
    types=(tuple,),
    is_repeated=True,
)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ConfigError(f"{name} holds {value!r}; give names or patterns as texts")


GLOBS = ValueKind(
    "GLOB",
    str,
    each(_check_text),
    to_plain=list,
    from_plain=lambda _name, plain: tuple(plain),
    read=read_texts,
    types=(tuple,),
    words="a tuple of names such as ('*fc*',)",
    is_repeated=True,
    in_python="a tuple such as `('*fc*',)`",
)


def _path_text(_name: str, value: Any) -> Any:
    """Return a path as a text."""
    return str(value) if isinstance(value, Path) else value


def folder() -> ValueKind:
    """Return the kind of the name of a folder, which may be a path."""
    return ValueKind("DIR", str, read=_path_text, types=(str,), words="the path of a folder")


def file() -> ValueKind:
    """Return the kind of the name of a file, which may be a path."""
    return ValueKind("FILE", str, read=_path_text, types=(str,), words="the path of a file")


def _taken_as(names: Collection[str]) -> Callable[[str, Any], Any]:
    """Return what makes a text that is one of `names` but for case that name."""
    return lambda _name, value: as_choice(value, names) if isinstance(value, str) else value


def text(metavar: str, check: Check = accept, names: Collection[str] = ()) -> ValueKind:
    """Return the kind of a text; case does not matter in `names`."""
    return text_kind(
        metavar,
        check,
        _taken_as(names),
        types=(str,),
        words=f"a text: {metavar}",
        names=tuple(names),
    )


def text_or_function(metavar: str, check: Check, names: Collection[str]) -> ValueKind:
    """Return the kind of a text, or in Python of a function; case does not matter in `names`."""
    return text_kind(
        metavar,
        check,
        _taken_as(names),
        to_plain=lambda value: value if isinstance(value, str) else name_of(value),
        types=(str, Callable),
        words=f"a text ({metavar}) or a function",
        in_python="a text or a function",
        names=tuple(names),
    )


def choice(names: Collection[str], word: str = "", metavar: str = "") -> ValueKind:
    """Return the kind of a text that is one of `names`, in any case; messages call it `word`."""
    return text_kind(
        metavar or "|".join(names), one_of(names, word), _taken_as(names), names=tuple(names)
    )


def choices(names: Collection[str], word: str, metavar: str) -> ValueKind:
    """Return the kind of several texts out of `names`, joined by commas."""

    def split(name: str, plain: str) -> tuple[str, ...]:
        found = tuple(as_choice(part, names) for part in plain.split(","))
        if not any(part.strip() for part in found):
            raise ConfigError(
                f"no {name.replace('_', ' ')} were given; choose from {','.join(names)}"
            )
        return tuple(part.strip() for part in found)

    def read(name: str, value: Any) -> Any:
        if isinstance(value, str):
            return split(name, value)
        if not isinstance(value, list | tuple):
            return value
        return tuple(as_choice(one, names) if isinstance(one, str) else one for one in value)

    example = f"a tuple such as `{tuple(names)[:2]}`"
    return ValueKind(
        metavar,
        str,
        each(one_of(names, word)),
        ",".join,
        split,
        read,
        types=(tuple,),
        words=example.replace("`", ""),
        in_python=example,
        names=tuple(names),
    )


def text_list(metavar: str) -> ValueKind:
    """Return the kind of several texts, joined by commas."""
    return ValueKind(
        metavar,
        str,
        to_plain=",".join,
        from_plain=lambda _name, plain: tuple(part.strip() for part in plain.split(",")),
        types=(tuple,),
        words="a tuple of texts",
    )
