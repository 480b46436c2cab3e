"""From what the user wrote to a Score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnx_lobs.evaluation.builtin import SCORES
from onnx_lobs.evaluation.score import Score
from onnx_lobs.evaluation.script import FunctionScore, load_function
from onnx_lobs.options.data import check_score
from onnx_lobs.options.given import as_choice, name_of


def find_score(wanted: str | Callable[..., Any]) -> Score:
    """Return a score by its name, by ``FILE.py:FUNCTION``, or from a function.

    Raises
    ------
    ConfigError
        When the name is unknown, or the function cannot be found or called.
    ScoreError
        When the file's own code raises.
    """
    if callable(wanted):
        return FunctionScore(name_of(wanted), wanted)
    name = as_choice(wanted, SCORES)
    if name in SCORES:
        return SCORES[name]
    check_score("score", wanted)
    return load_function(wanted)
