"""Says what was meant by words of the command line that no verb reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx_lobs.errors import ConfigError, near_names


def check_words(
    verb: str, values: Mapping[str, Any], extra: Sequence[str], verbs: Collection[str],
    flags: Collection[str],
) -> None:  # fmt: skip
    """Refuse words that are too many, and options that stand where a value belongs.

    Parameters
    ----------
    verb
        That the words were given to; ``prune`` where none was named.
    values
        Its values by the names of its options.
    extra
        Words that are left over, in order.
    verbs
        The names of all verbs.
    flags
        The names of the verb's options, with their dashes.

    Raises
    ------
    ConfigError
        The message says how to write what was probably meant.
    """
    for name, value in values.items():
        if str(value) in flags:
            raise ConfigError(
                f"{name.replace('_', ' ')} is {str(value)!r}, which is an option; write a value "
                "in front of it"
            )
    first = values.get("model")
    if verb == "prune" and first is not None and not Path(first).exists():
        _check_verb(str(first), verbs)
    if extra:
        raise ConfigError(_too_many(verb, first, extra))


def _check_verb(word: str, verbs: Collection[str]) -> None:
    """Refuse a first word that is no file, and looks like a verb."""
    if word == "help":
        raise ConfigError("'help' is no verb and no file; run onnx-lobs --help")
    near = near_names(word, verbs)
    if near and not Path(word).suffix:
        raise ConfigError(f"{word!r} is no verb and no file; did you mean {near[0]!r}?")


def _too_many(verb: str, first: Any, extra: Sequence[str]) -> str:
    """Return what to do about words that are too many."""
    named = ", ".join(map(repr, extra[:3])) + (", ..." if len(extra) > 3 else "")
    if first is None or verb == "config":
        return f"{named} is too much; see onnx-lobs {verb} --help"
    if extra[0].endswith(".onnx"):
        return (
            f"{verb} takes one model, and {str(first)!r} and {named} were given; take one after "
            f"the other, or see how two differ: onnx-lobs evaluate {first} {extra[0]} -d DATA"
        )
    return (
        f"{named} is too much: data are given with -d, one path; put a pattern in quotes, as "
        "-d 'pictures/*.jpg'"
    )
