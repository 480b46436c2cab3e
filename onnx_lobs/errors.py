"""The exceptions of onnx-lobs, and the context that names the layer in which one arose.

Every message names the value, the limit and the remedy. ``exit_code`` is what the command
line returns for the class.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

NEAR = 0.6  # how alike two names are, of 1, so that one may be meant for the other
NEARER = 0.8  # the same of files, whose names share their ends


class LobsError(Exception):
    """Base of every error that onnx-lobs raises on purpose."""

    exit_code = 1


class ConfigError(LobsError, ValueError):
    """An option, or a combination of options, is not possible."""

    exit_code = 2


class ModelError(LobsError, ValueError):
    """The ONNX model cannot be read, is not valid, or cannot be written."""

    exit_code = 3


class UnsupportedOpError(ModelError):
    """A node that the user named cannot be pruned."""


class DataError(LobsError, ValueError):
    """The data do not fit the model's inputs."""

    exit_code = 4


class NotFiniteError(DataError):
    """A value inside the network is NaN, infinite, or too large to square."""


class InferenceError(LobsError, RuntimeError):
    """Running the model on the data failed in onnxruntime."""

    exit_code = 4


class ScoreError(LobsError, RuntimeError):
    """The user's own score function failed, or gave no number."""

    exit_code = 4


class SolverError(LobsError, ArithmeticError):
    """A layer problem has no solution as it was posed."""

    exit_code = 4


class NotPositiveDefiniteError(SolverError):
    """A Gram matrix has a negative direction or holds NaN, so it is no second moment."""


class InfeasibleError(SolverError):
    """The pattern cannot hold the number of zeros that was asked for."""


@contextmanager
def layer_context(name: str) -> Iterator[None]:
    """Put the layer's name before the message of any SolverError raised inside.

    Solvers see arrays and know no names; the pipeline wraps each call in this.
    """
    try:
        yield
    except SolverError as error:
        raise type(error)(f"layer {name!r}: {error}") from error


def near_names(text: str, names: Iterable[str], cutoff: float = NEAR) -> list[str]:
    """Return the names that are like a text, the likest first; case does not matter.

    >>> near_names("SparsGPT", ["sparsegpt", "lobs", "wanda"])
    ['sparsegpt']
    """
    by_lower = {name.lower(): name for name in names}
    found = difflib.get_close_matches(text.lower(), by_lower, n=3, cutoff=cutoff)
    return [by_lower[word] for word in found]


def near_file(path: Path) -> str:
    """Return the question whether a file of a like name in the same folder was meant, or nothing.

    The question has a semicolon in front.
    """
    if not path.parent.is_dir():
        return ""
    near = near_names(path.name, (file.name for file in path.parent.iterdir()), NEARER)
    return f"; did you mean {str(path.with_name(near[0]))!r}?" if near else ""


def did_you_mean(text: object, names: Iterable[str]) -> str:
    """Return the question whether a near name was meant, with a space behind it, or nothing."""
    near = near_names(text, names) if isinstance(text, str) else []
    return f"did you mean {near[0]!r}? " if near else ""
