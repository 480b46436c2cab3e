"""Declares an option as a field of a frozen dataclass, and reads such declarations.

The declaration is the only place where an option is written. From it come the command line, the
keyword arguments of :func:`onnx_lobs.prune` and their documentation, the keys of the cache, and
the page ``command-line`` of the guide.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from inspect import Parameter
from types import MappingProxyType
from typing import Any, TypeVar, cast, get_type_hints

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.value_kind import ValueKind

T = TypeVar("T")
_KEY = "option"
_LONGEST = 40  # letters of a value in a message
REQUIRED = Parameter.empty


class Affects(Enum):
    """Tells what depends on an option; each includes what follows it.

    ``MOMENTS``: what calibration collects of the dense network. ``SOLVING``: which weights become
    zero and what the others become. ``RUN``: only where and how the run works, how its result is
    written, judged or corrected.
    """

    MOMENTS = "moments"
    SOLVING = "solving"
    RUN = "run"


@dataclass(frozen=True)
class Option:
    """One option.

    Parameters
    ----------
    name, type, annotation, default
        Of the field; the annotation is its type as it is written. The default is ``REQUIRED``
        where a value has to be given.
    help
        What it is, in one or two sentences. Other options stand in it by their names, as
        `` `memory` ``; the command line shows ``--memory``.
    kind
        How it is checked, written and read.
    flags
        On the command line, longest name last; a switch as ``--refit/--no-refit``. Empty:
        ``--name``.
    metavar
        In place of the kind's.
    unset
        What None stands for.
    brief
        What it is in a few words, for the help that lists the most used options only.
    more
        Further sentences for those who read the whole documentation.
    affects
        What depends on it. An option that says nothing affects everything.
    rank
        Place among the most used options, which the help shows first; 0: not among them.
    also
        Verbs beside ``prune`` that take it.
    aliases
        What other programs call it: who writes one of these is told the name.
    panel
        Heading in the help under which it stands.
    is_argument
        Whether it stands on the command line by its place and without a flag.
    """

    help: str
    kind: ValueKind
    default: Any = REQUIRED
    name: str = ""
    type: Any = None
    annotation: str = ""
    flags: tuple[str, ...] = ()
    metavar: str = ""
    unset: str = ""
    brief: str = ""
    more: str = ""
    affects: Affects = Affects.MOMENTS
    rank: int = 0
    also: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    panel: str = ""
    is_argument: bool = False

    @property
    def has_default(self) -> bool:
        """Whether it need not be given."""
        return self.default is not REQUIRED

    @property
    def plain_default(self) -> Any:
        """The plain form of the default; None where that is None and has none of its own."""
        return self.to_plain(self.default)

    def to_plain(self, value: Any) -> Any:
        """Return what the command line or a TOML file holds for a value; None: leave it out."""
        if value is None and not self.kind.takes_none:
            return None
        return self.kind.to_plain(value)

    def from_plain(self, plain: Any) -> Any:
        """Return the value of what a command line or a TOML file holds.

        Raises
        ------
        ConfigError
            When it cannot be understood.
        """
        return None if plain is None else self.kind.from_plain(self.name, plain)

    def is_default(self, plain: Any) -> bool:
        """Whether a plain form stands for the default, however it is written: 3% is 0.03."""
        return bool(self.to_plain(self.from_plain(plain)) == self.plain_default)

    def read(self, value: Any) -> Any:
        """Return the value that a caller of Python meant: ``"0.8"`` is 0.8, a list a tuple.

        Raises
        ------
        ConfigError
            When it cannot be understood.
        """
        return None if value is None else self.kind.read(self.name, value)

    def check(self, value: Any) -> None:
        """Raise ConfigError when a value is not possible."""
        if value is None and (self.default is None or self.kind.takes_none):
            return
        if not self.kind.is_value(value):
            raise ConfigError(f"{self.name} is {_shown(value)}; give {self.kind.words}")
        self.kind.check(self.name, value)


def _shown(value: Any) -> str:
    """Return a value, not at length, and its type."""
    text = repr(value)
    return f"{text if len(text) <= _LONGEST else type(value).__name__ + ' ...'}, " + (
        f"of type {type(value).__name__}"
    )


def option(default: T, help: str, kind: ValueKind, **about: Any) -> T:
    """Declare an option as ``name: type = option(default, help, kind, ...)`` in a dataclass.

    Parameters
    ----------
    default
        Its value where none is given. A dict is copied for each object.
    help, kind, about
        Fields of :class:`Option`.
    """
    declared = Option(help, kind, default, **about)
    if isinstance(default, dict):
        return cast("T", dataclasses.field(default_factory=default.copy, metadata={_KEY: declared}))
    return dataclasses.field(default=default, metadata={_KEY: declared})


def argument(help: str, kind: ValueKind, **about: Any) -> Any:
    """Declare what has to be given, by its place on the command line."""
    declared = Option(help, kind, is_argument=True, **about)
    return dataclasses.field(metadata={_KEY: declared})


def options_of(record: type, panel: str = "") -> Mapping[str, Option]:
    """Return the options that a dataclass declares, by name, in its order.

    Parameters
    ----------
    record
        The dataclass. Fields that are no options are passed over.
    panel
        Heading of those that name none.
    """
    types = get_type_hints(record)
    found = {}
    for field in dataclasses.fields(record):
        if _KEY in field.metadata:
            declared: Option = field.metadata[_KEY]
            found[field.name] = dataclasses.replace(
                declared,
                name=field.name,
                type=types[field.name],
                annotation=str(field.type),
                panel=declared.panel or panel,
            )
    return MappingProxyType(found)


def check_options(record: Any) -> None:
    """Check every option of a dataclass object.

    Raises
    ------
    ConfigError
        When a value is out of its range; the message names value, limit and remedy.
    """
    for name, declared in options_of(type(record)).items():
        declared.check(getattr(record, name))


def from_plain(record: type[T], plain: Mapping[str, Any]) -> T:
    """Make a dataclass object from the plain forms of its options.

    Parameters
    ----------
    record
        The dataclass.
    plain
        Plain forms by the name of the option. Other keys are passed over, options that are
        missing take the default. Not modified.

    Raises
    ------
    ConfigError
        When a value cannot be understood or is out of its range.
    """
    declared = options_of(record)
    return take(record, {n: o.from_plain(plain[n]) for n, o in declared.items() if n in plain})


def take(record: type[T], values: Mapping[str, Any]) -> T:
    """Make a dataclass object of those values that are its options; others are passed over."""
    return record(**{name: values[name] for name in options_of(record) if name in values})


def to_plain(record: Any) -> dict[str, Any]:
    """Return the plain forms of a dataclass object's options; those without one are left out."""
    forms = {n: o.to_plain(getattr(record, n)) for n, o in options_of(type(record)).items()}
    return {name: plain for name, plain in forms.items() if plain is not None}


def values_of(record: Any) -> dict[str, Any]:
    """Return the values of a dataclass object's options as JSON can hold them.

    A function of the user is its name.
    """
    values = {name: getattr(record, name) for name in options_of(type(record))}
    declared = options_of(type(record))
    return {n: declared[n].to_plain(v) if callable(v) else v for n, v in values.items()}


def names_that_affect(options: Mapping[str, Option], *levels: Affects) -> Collection[str]:
    """Return the names of the options whose first effect is one of `levels`."""
    return tuple(name for name, declared in options.items() if declared.affects in levels)


def for_verb(options: Mapping[str, Option], verb: str) -> dict[str, Option]:
    """Return those options of ``prune`` that another verb takes too."""
    return {name: declared for name, declared in options.items() if verb in declared.also}
