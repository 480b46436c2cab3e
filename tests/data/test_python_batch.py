"""Data as programs hold them: tensors, tuples with labels, data sets, generator functions."""

from __future__ import annotations

import glob
from collections import UserDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_lobs.data.batches import Batches
from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.data.reader import open_data
from onnx_lobs.errors import DataError

X = np.arange(24, dtype=np.float32).reshape(8, 3)
Y = np.arange(8)


def spec(name: str = "x", shape: Any = ("N", 3), dtype: str = "float32") -> InputSpec:
    return InputSpec(name, np.dtype(dtype), shape)


def opened(source: object, *inputs: InputSpec, **options: Any) -> Batches:
    options = {"samples": None, "batch_size": 4, **options}
    return open_data(source, inputs or (spec(),), **options)


class Tensor:
    """A tensor that gives its values up only when it is taken off its device and gradients."""

    def __init__(self, values: Any, steps: tuple[str, ...] = ()) -> None:
        self.values = np.asarray(values)
        self.steps = steps
        self.shape = self.values.shape
        self.dtype = "float32"

    def detach(self) -> Tensor:
        return Tensor(self.values, (*self.steps, "detach"))

    def cpu(self) -> Tensor:
        return Tensor(self.values, (*self.steps, "cpu"))

    def numpy(self) -> Any:
        if self.steps[:2] != ("detach", "cpu"):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return self.values


class Brain(Tensor):
    """A bfloat16 tensor, which NumPy has no type for."""

    def __init__(self, values: Any, steps: tuple[str, ...] = ()) -> None:
        super().__init__(values, steps)
        self.dtype = "torch.bfloat16"

    def detach(self) -> Brain:
        return self

    def cpu(self) -> Brain:
        return self

    def float(self) -> Tensor:
        return Tensor(self.values, ("detach", "cpu"))


class Table:
    """A table of another library, which has columns to iterate over but is one array."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return X.astype(np.float64)

    def __iter__(self) -> Iterator[str]:
        return iter("abc")


class Loader:
    """A DataLoader of (x, y)."""

    def __init__(self, *, as_list: bool = False, only_x: bool = False) -> None:
        self.kind, self.only_x = list if as_list else tuple, only_x

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, 8, 4):
            parts = (Tensor(X[start : start + 4]), Tensor(Y[start : start + 4]))
            yield self.kind(parts[: 1 if self.only_x else 2])


class DataSet:
    """A data set that is indexed, with a sample and its label."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return Tensor(X[index]), int(Y[index])


def generator() -> Iterator[Any]:
    yield from ({"x": X[:4]}, {"x": X[4:]})


@pytest.mark.parametrize(
    ("source", "has_labels"),
    [
        (Tensor(X), False),
        (Brain(X), False),
        (Table(), False),
        (X.tolist(), False),
        ([Tensor(X[:4]), Tensor(X[4:])], False),
        ([Tensor(row) for row in X], False),
        ([[Tensor(row) for row in X]], False),
        ((Tensor(X), Tensor(Y)), True),
        ((X, Y.tolist()), True),
        ({"x": Tensor(X), "label": Tensor(Y)}, True),
        ([UserDict(x=X[:4]), UserDict(x=X[4:])], False),
        (Loader(), True),
        (Loader(as_list=True), True),
        (Loader(only_x=True), False),
        (DataSet(), True),
        (generator, False),
        (lambda: Loader(), True),
        ([({"x": X}, Y)], True),
        ([(X, [{"boxes": 1}] * 8)], False),
    ],
)
def test_data_of_a_program_are_its_samples_and_labels(source: object, has_labels: bool) -> None:
    batches = opened(source)
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([b["x"] for b in batches]), X)
    assert (batches.labels is not None) is has_labels
    if batches.labels is not None:
        np.testing.assert_array_equal(batches.labels, Y)


TWO = spec("ids", ("N", 3)), spec("mask", ("N", 3))


@pytest.mark.parametrize(
    ("source", "has_labels"),
    [
        ([(X, X + 1)], False),
        ([(X, X + 1, Y)], True),
        ([((X, X + 1), Y)], True),
        ([[[X, X + 1], Y]], True),
        ((X, X + 1), False),
        ((X, X + 1, Y), True),
    ],
)
def test_several_inputs_come_in_the_models_order(source: object, has_labels: bool) -> None:
    batches = opened(source, *TWO)
    batch = {name: np.concatenate([b[name] for b in batches]) for name in ("ids", "mask")}
    np.testing.assert_array_equal(batch["ids"] + 1, batch["mask"])
    assert (batches.labels is not None) is has_labels


def test_labels_take_a_name_that_is_no_input() -> None:
    batches = opened([(X, Y)], spec("label"))
    np.testing.assert_array_equal(batches.labels, Y)


def test_a_batch_size_that_the_model_fixes_at_one_takes_a_loader() -> None:
    batches = opened(Loader(), spec(shape=(1, 3)))
    assert batches.sizes == (1,) * 8
    np.testing.assert_array_equal(batches.labels, Y)


@pytest.mark.parametrize(
    ("source", "match"),
    [
        (
            [(X, X, X)],
            r"batch 0 is a tuple of 3 parts, and the model has 1 input: 'x'; give \('x'\)",
        ),
        ([[object()]], "batch 0 is of type object; give arrays by input name"),
        (lambda x: x, "data is '<lambda>', which takes x; give a generator function that takes"),
        (Loader, "data is 'Loader', which takes nothing; give a generator function"),
        (max, "data is 'max', which cannot be read"),
        (3, "data of type int cannot be read; give a path"),
        ([], "no batch was found"),
    ],
)
def test_what_is_no_batch_is_one_sentence(source: object, match: str) -> None:
    with pytest.raises(DataError, match=match):
        opened(source)


def test_a_parameter_with_a_default_does_not_matter() -> None:
    def batches(size: int = 4, *_more: int) -> Iterator[Any]:
        yield X[:size]

    assert opened(batches).n_samples == 4


def test_a_tensor_that_cannot_be_read_is_named() -> None:
    class Sparse(Tensor):
        def detach(self) -> Tensor:
            raise RuntimeError("sparse tensors have no strides")

    with pytest.raises(DataError, match=r"'x' is no array \(sparse tensors have no strides\)"):
        opened({"x": Sparse(X)})


# --- files by pattern


def test_paths_and_patterns_are_files_of_batches(tmp_path: Path) -> None:
    for i, part in enumerate((X[:4], X[4:])):
        np.savez(tmp_path / f"{i}.npz", x=part, label=Y[4 * i : 4 * i + 4])
    pattern = str(tmp_path / "*.npz")
    for source in (pattern, sorted(glob.glob(pattern)), sorted(tmp_path.glob("*.npz"))):
        batches = opened(source)
        np.testing.assert_array_equal(np.concatenate([b["x"] for b in batches]), X)
        np.testing.assert_array_equal(batches.labels, Y)
