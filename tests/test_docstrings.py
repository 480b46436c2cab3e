"""The examples in docstrings are true, and those of public names are as numpydoc asks."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import onnx_lobs

PACKAGE = Path(onnx_lobs.__file__).parent
EXAMPLE = ">>> "
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if EXAMPLE in path.read_text(encoding="utf-8")
)
PUBLIC = sorted(set(onnx_lobs.__all__) - {"__version__"})
CLASSES = [n for n in PUBLIC if inspect.isclass(getattr(onnx_lobs, n))]
METHODS = [
    f"{name}.{method}"
    for name in CLASSES
    for method, value in vars(getattr(onnx_lobs, name)).items()
    if inspect.isfunction(value) and not method.startswith("_")
]
NOT_ASKED = {
    "GL01": "numpydoc before 1.11 wants the text a line below the quotes",
    "ES01": "one sentence may be enough",
    "EX01": "the guide has the examples, and a test runs them",
    "SA01": "names are linked where they are spoken of",
    "PR04": "types stand in the signature, where mypy checks them",
}
NOT_ASKED_OF_METHODS = NOT_ASKED | {"RT01": "the first sentence says what is returned"}


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_are_true(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNX_LOBS_COMPILED", "0")  # to compile loops takes seconds
    failed, tried = doctest.testmod(importlib.import_module(module))
    assert tried > 0
    assert failed == 0


def complaints(name: str) -> dict[str, str]:
    """Return what numpydoc finds wrong with the docstring of a public name, by its code."""
    # a documentation generator as heavy as Sphinx comes with it: only the extra `test` has it
    numpydoc = pytest.importorskip("numpydoc.validate", reason="numpydoc: see the extra `test`")
    return dict(numpydoc.validate(f"onnx_lobs.{name}")["errors"])


@pytest.mark.parametrize("name", PUBLIC)
def test_the_docstring_of_a_public_name_is_whole(name: str) -> None:
    found = complaints(name)
    assert {code: text for code, text in found.items() if code not in NOT_ASKED} == {}


@pytest.mark.parametrize("name", METHODS)
def test_the_docstring_of_a_public_method_is_whole(name: str) -> None:
    found = complaints(name)
    assert {code: text for code, text in found.items() if code not in NOT_ASKED_OF_METHODS} == {}


def test_a_docstring_that_lacks_something_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_lobs.prune_layer, "__doc__", "prunes a layer")
    assert {"SS02", "SS03", "PR01", "RT01"} <= set(complaints("prune_layer"))
