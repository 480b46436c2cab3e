"""Functions that take options show each of them, and an unknown one is told its neighbours."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.call import check_names, takes_options
from onnx_lobs.options.config import OPTIONS

FEW = {name: OPTIONS[name] for name in ("seed", "score", "layer_min")}


def test_options_take_the_place_of_their_dictionary() -> None:
    @takes_options(FEW)
    def work(model: str, *, score: int = 0, **options: Any) -> int:
        """Work on a model."""
        return len(model) + score + len(options)

    signature = inspect.signature(work)
    assert list(signature.parameters) == ["model", "score", "seed", "layer_min"]
    assert signature.parameters["score"].default == 0  # its own, not the option's
    assert signature.parameters["layer_min"].default == {}
    assert work.__doc__ is not None
    assert work.__doc__.startswith("Work on a model.\n\nOther Parameters\n---")
    assert "score :" not in work.__doc__
    assert work("abc", seed=1) == 4


def test_a_function_without_a_docstring_gets_none() -> None:
    @takes_options(FEW)
    def work(**options: Any) -> None: ...

    assert work.__doc__ is None
    assert list(inspect.signature(work).parameters) == list(FEW)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("sparsty", "did you mean sparsity?"),
        ("max_byte", "did you mean max_bytes?"),
        ("format", "did you mean storage?"),
        ("input_shape", "did you mean input_shapes?"),
        ("independent", "did you mean sequential=False?"),
        ("layers_sparsity", "did you mean layer_sparsity"),
        ("xyzzy", "the options are sparsity, pattern, "),
    ],
)
def test_an_unknown_name_is_refused_with_those_that_are_near(name: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as found:
        check_names(["seed", name], OPTIONS)
    assert str(found.value).startswith(f"option {name!r} is unknown; {remedy}")
