"""The public door: these names, and no others, documented and importable late."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_type_hints

import pytest

import onnx_lobs
from onnx_lobs.options.config import OPTIONS
from onnx_lobs.options.option import Option
from onnx_lobs.options.verb_options import COMPARE_OPTIONS, RETRAIN_OPTIONS

PUBLIC = {
    "ConfigError", "DataError", "Evaluation", "InferenceError", "LobsError", "ModelError",
    "PruneConfig", "PruneResult", "Report", "RetrainResult", "ScoreError", "SolverError",
    "__version__", "evaluate", "prune", "prune_layer", "retrain",
}  # fmt: skip


def test_these_names_are_public_and_no_others() -> None:
    assert set(onnx_lobs.__all__) == set(dir(onnx_lobs)) == PUBLIC
    assert len(onnx_lobs.__all__) == len(PUBLIC)


@pytest.mark.slow
def test_a_star_imports_the_public_names_without_any_that_was_asked_for_before() -> None:
    code = "from onnx_lobs import *; print(*sorted(set(dir()) - {'__builtins__'}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(onnx_lobs.__file__).parents[1],
    )
    assert set(done.stdout.split()) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC - {"__version__"}))
def test_every_public_name_is_documented(name: str) -> None:
    assert getattr(onnx_lobs, name).__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(onnx_lobs, "prune_everything")


@pytest.mark.parametrize(
    ("function", "own", "table"),
    [
        (onnx_lobs.prune, ["model", "data", "test", "progress"], OPTIONS),
        (onnx_lobs.evaluate, ["dense", "pruned", "data", "score", "progress"], COMPARE_OPTIONS),
        (onnx_lobs.retrain, ["pruned", "data", "dense", "test", "progress"], RETRAIN_OPTIONS),
    ],
)
def test_functions_list_their_options_with_types_defaults_and_texts(
    function: Callable[..., object], own: list[str], table: Mapping[str, Option]
) -> None:
    options = [name for name in table if name not in own]
    parameters = inspect.signature(function).parameters
    assert list(parameters) == [*own, *options]
    hints = get_type_hints(function)
    for name in options:
        parameter, option = parameters[name], table[name]
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert (parameter.default, parameter.annotation) == (option.default, option.type)
        assert hints[name] == option.type
        assert f"\n{name} : {option.annotation}, default" in (function.__doc__ or "")
    assert "options" not in hints
