"""Odd uses from Python: what people pass works, or one sentence says what to pass."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnx_lobs
from onnx_lobs.arrays import Array

FAST: dict[str, Any] = {"allocation": "uniform", "effort": "fast"}


class Loader:
    """Yields what it was given, as a DataLoader does."""

    def __init__(self, *items: Any) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)


class Tensor:
    """An array of another library."""

    def __init__(self, values: Array) -> None:
        self._values = values
        self.shape, self.dtype = values.shape, values.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self._values


class Network:
    """A model of another library."""


@pytest.fixture(autouse=True)
def here(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workshop)


@pytest.fixture
def x() -> Array:
    with np.load("good.npz") as file:
        return np.asarray(file["features"])


FORMS: dict[str, Callable[[Array], Any]] = {
    "pairs of inputs and labels": lambda x: Loader((x[:8], np.zeros(8)), (x[8:], np.zeros(40))),
    "tuples of one": lambda x: Loader((x[:8],), (x[8:],)),
    "tensors": lambda x: Loader(Tensor(x[:8]), Tensor(x[8:])),
    "a generator function": lambda x: lambda: ({"features": x[i : i + 8]} for i in range(0, 48, 8)),
    "lists of numbers": lambda x: x.tolist(),
    "another name": lambda x: {"x": x},
}


@pytest.mark.parametrize("form", FORMS)
def test_data_are_taken_as(x: Array, form: str) -> None:
    result = onnx_lobs.prune("m.onnx", FORMS[form](x), **FAST)
    assert result.report.totals.sparsity == 0.5


OPTIONS: dict[str, dict[str, Any]] = {
    "a text": {"sparsity": "0.8"},
    "a lambda that scores": {"score": lambda run: 1.0},
    "print for progress": {"progress": print},
    "one name": {"include": "fc1"},
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_are_taken_as(x: Array, case: str) -> None:
    assert onnx_lobs.prune("m.onnx", x, **{**FAST, **OPTIONS[case]}).report.layers


REFUSED: dict[str, tuple[Callable[[Array], Any], str]] = {
    "a module": (lambda x: onnx_lobs.prune(Network(), x), "give the path of an .onnx file"),  # type: ignore[arg-type]
    "no model": (lambda x: onnx_lobs.prune(None, x), "give the path of an .onnx file"),  # type: ignore[arg-type]
    "a sparsity in per cent": (
        lambda x: onnx_lobs.prune("m.onnx", x, sparsity=80),
        "for 80 % write 0.8",
    ),
    "a list of sparsities": (
        lambda x: onnx_lobs.prune("m.onnx", x, sparsity=[0.5]),  # type: ignore[arg-type]
        "give a number such as 0.8",
    ),
    "a misspelt option": (
        lambda x: onnx_lobs.prune("m.onnx", x, sparsty=0.5),  # type: ignore[call-arg]
        "did you mean sparsity",
    ),
    "a score of three arguments": (
        lambda x: onnx_lobs.prune("m.onnx", x, score=lambda a, b, c: 1.0, **FAST),
        r"write `def score\(run\)`",
    ),
    "a number for progress": (
        lambda x: onnx_lobs.prune("m.onnx", x, progress=3),  # type: ignore[arg-type]
        r"give a function f\(phase, done, total\)",
    ),
    "a number for data": (lambda x: onnx_lobs.prune("m.onnx", 5), "give a path, arrays by"),
    "no batches": (lambda x: onnx_lobs.prune("m.onnx", []), "no batch was found; give at least"),
    "NaN": (lambda x: onnx_lobs.prune("m.onnx", x * np.nan), "remove that sample, or rescale"),
    "a tuple for a pattern": (
        lambda x: onnx_lobs.prune("m.onnx", x, pattern=(2, 4)),  # type: ignore[arg-type]
        "give a text: unstructured|N:M|RxC",
    ),
    "saving over the input": (
        lambda x: onnx_lobs.prune("m.onnx", x, **FAST).save("m.onnx", overwrite=True),
        "would replace the input m.onnx; choose another name",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_one_sentence(x: Array, case: str) -> None:
    act, message = REFUSED[case]
    with pytest.raises(onnx_lobs.LobsError, match=message) as caught:
        act(x)
    assert "\n" not in str(caught.value)


def test_two_samples_are_pruned_without_warnings_of_numpy(x: Array) -> None:
    with np.errstate(all="raise"):
        onnx_lobs.prune("m.onnx", [x[0], x[1]], **FAST)


def test_names_options_and_results_are_short_to_look_at(x: Array) -> None:
    assert {"prune", "evaluate", "PruneResult"} <= set(dir(onnx_lobs))
    shown = pydoc.render_doc(onnx_lobs.prune, renderer=pydoc.plaintext)
    assert all(name in shown for name in inspect.signature(onnx_lobs.prune).parameters)
    result = onnx_lobs.prune(onnx.load("m.onnx"), x, **FAST)
    assert len(repr(result)) < 120
    assert "\n" not in repr(result)
