"""Scores a network by the user's own function.

``--score FILE.py:FUNCTION`` names one of two forms, told apart by the signature::

    def score(run): ...
    def score(run, batches): ...

``run(feeds)`` takes ``{input: array}`` and returns ``{output: array}``. ``batches`` yields
``(feeds, labels)`` of the test data, as often as it is iterated over; labels are None where
there are none. The function returns a number, higher is better, or one number per sample,
whose mean is the score and whose spread gives its standard error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.batches import Batches
from onnx_lobs.data.user_code import UserCode, find_function
from onnx_lobs.errors import ConfigError, ScoreError
from onnx_lobs.evaluation.output import Outputs
from onnx_lobs.evaluation.score import MeasuredScore, Tick, mean_over
from onnx_lobs.graph.run.staged import Runnable

_FORMS = "write `def score(run)` or `def score(run, batches)`"


@dataclass(frozen=True)
class FunctionScore:
    """A score that a function of the user gives.

    Parameters
    ----------
    name
        ``FILE.py:FUNCTION``, or the function's name.
    function
        In one of the two forms.
    folder
        Folder of the script, from which it may import.

    Raises
    ------
    ConfigError
        When the function has neither form.
    """

    name: str
    function: Callable[..., Any]
    folder: Path | None = None
    needs_labels = False
    needs_reference = False
    is_fraction = False

    def __post_init__(self) -> None:
        _takes_batches(self.function, self.name)

    @property
    def needs_data(self) -> bool:
        """Whether the function takes batches."""
        return _takes_batches(self.function, self.name)

    def compute(
        self,
        model: Runnable,
        batches: Batches | None,
        reference: Iterable[Outputs] | None = None,
        tick: Tick = lambda n: None,
    ) -> MeasuredScore:
        """Call the function, see :meth:`onnx_lobs.evaluation.score.Score.compute`.

        Raises
        ------
        ScoreError
            When it raises, or returns no finite number.
        """

        def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
            outputs = model.run(feeds)
            tick(1)
            return outputs

        with UserCode(f"score {self.name}", self.folder, ScoreError):
            if self.needs_data:
                assert batches is not None
                result = self.function(run, _Labelled(batches))
            else:
                result = self.function(run)
        return _measured(result, self.name)


@dataclass(frozen=True)
class _Labelled:
    """Batches as the user's function gets them."""

    batches: Batches

    def __iter__(self) -> Iterator[tuple[dict[str, Array], Array | None]]:
        return self.batches.labelled()

    def __len__(self) -> int:
        return len(self.batches)


def load_function(text: str) -> FunctionScore:
    """Return the score that ``FILE.py:FUNCTION`` names. This runs the file's code.

    Raises
    ------
    ConfigError
        When there is no such file, or no such function in it, or it has neither form.
    ScoreError
        When the file's code raises.
    """
    function, folder = find_function(text, "score", _FORMS, ScoreError)
    return FunctionScore(text, function, folder)


def _takes_batches(function: Callable[..., Any], name: str) -> bool:
    """Whether the second form is meant: two parameters, the second required or named batches."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"score {name!r} has no signature; {_FORMS}") from error
    placed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in parameters if p.default is p.empty and p.kind not in _VARIADIC]
    if not placed or len(needed) > 2 or any(p.kind is p.KEYWORD_ONLY for p in needed):
        takes = ", ".join(map(str, parameters)) or "nothing"
        raise ConfigError(f"score {name!r} takes {takes}; {_FORMS}")
    return len(needed) == 2 or any(p.name == "batches" for p in placed[1:2])


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _measured(result: Any, name: str) -> MeasuredScore:
    try:
        given = np.asarray(result)
    except ValueError:  # lists of unequal lengths
        given = np.asarray(None)
    if given.dtype.kind not in "biuf":
        raise ScoreError(
            f"score {name} returned a {type(result).__name__}; return a number, or one per sample"
        )
    values = given.astype(np.float64)
    if values.ndim > 1 or not values.size:
        raise ScoreError(
            f"score {name} returned an array of shape {values.shape}; return a number, or one "
            "per sample"
        )
    if not np.isfinite(values).all():
        bad = values.reshape(-1)[~np.isfinite(values.reshape(-1))][0]
        raise ScoreError(f"score {name} returned {bad}; return finite numbers")
    return mean_over(values) if values.ndim else MeasuredScore(float(values))
