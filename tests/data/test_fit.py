"""Matching arrays to inputs: names, shapes, dtypes, scales and values."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from onnx_lobs.data.fit import fit
from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.data.reader import Batches, open_data
from onnx_lobs.errors import DataError

Array = np.ndarray[Any, Any]
IMAGE = ("N", 3, 2, 2)


def opened(source: dict[str, Any], **inputs: tuple[tuple[int | str | None, ...], Any]) -> Batches:
    specs = [InputSpec(name, np.dtype(dtype), shape) for name, (shape, dtype) in inputs.items()]
    return open_data(source, specs, samples=None, batch_size=2)


def first(source: dict[str, Any], shape: Any, dtype: Any) -> Array:
    return next(iter(opened(source, x=(shape, dtype))))["x"]


def ones(*shape: int, dtype: Any = "float32") -> Array:
    return np.ones(shape, dtype)


# --- names


def test_a_single_input_takes_any_one_array_with_its_scale_and_labels() -> None:
    source = {"arr_0": ones(2, 3, dtype="uint8"), "arr_0.scale": 0.5, "labels": [1, 2]}
    batches = opened(source, x=(("N", 3), "float32"))
    assert next(iter(batches))["x"].tolist() == [[0.5] * 3] * 2
    assert batches.labels is not None
    assert batches.labels.tolist() == [1, 2]


def test_an_input_named_like_labels_or_a_scale_is_an_input() -> None:
    source = {"y": ones(2, 3), "y.scale": ones(2, 3)}
    batches = opened(source, **{"y": (("N", 3), "float32"), "y.scale": (("N", 3), "float32")})
    assert batches.labels is None
    np.testing.assert_array_equal(next(iter(batches))["y"], ones(2, 3))


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ({"a": ones(2, 3)}, "arrays: input 'b' is missing; found 'a'; the model needs 'a', 'b'"),
        ({}, "input 'a' is missing; found nothing"),
        (
            {"a": ones(2, 3), "b": ones(2, 3), "c": ones(2)},
            "'c' is no input of the model, which needs 'a', 'b'; rename or remove it",
        ),
        (
            {"a": ones(2, 3), "b": ones(2, 3), "c.scale": ones(1)},
            "'c.scale' is no input of the model",
        ),
        ({"a": ones(2, 3), "b": ones(3, 3)}, "'b' has 3 samples and 'a' has 2; give the same"),
        ({"a": ones(0, 3), "b": ones(0, 3)}, "'a' holds no samples; give at least one"),
        (
            {"a": ones(2, 3), "b": ones(2, 3), "label": ones(3)},
            "'label' has 3 labels for 2 samples; give one each",
        ),
        ({"a": [[1.0], [1.0, 2.0]], "b": ones(2, 3)}, "'a' is no array .*; give equal shapes"),
    ],
)
def test_names_and_counts_that_do_not_match_are_refused(source: dict[str, Any], match: str) -> None:
    with pytest.raises(DataError, match=match):
        opened(source, a=(("N", 3), "float32"), b=(("N", 3), "float32"))


def test_a_single_input_refuses_two_strange_arrays() -> None:
    with pytest.raises(DataError, match="input 'x' is missing; found 'p', 'q'"):
        first({"p": ones(2), "q": ones(2)}, ("N",), "float32")


# --- shapes


@pytest.mark.parametrize("shape", [(2, 4), (2,), (2, 3, 1), ()])
def test_a_wrong_rank_or_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"has shape \(.*\); the model wants \(\?, 3\); reshape"):
        first({"x": ones(*shape)}, ("N", 3), "float32")


# --- dtypes


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ("float64", "float32"),
        (">f4", "float32"),
        ("float16", ml_dtypes.bfloat16),
        (ml_dtypes.bfloat16, "float16"),
        ("uint8", "int64"),
        ("int64", "uint8"),
        ("int64", "int8"),
        ("int32", "bool"),
        ("bool", "int64"),
        ("bool", "float32"),
        ("complex128", "complex64"),
    ],
)
def test_safe_conversions_are_made(stored: Any, wanted: Any) -> None:
    value = first({"x": ones(2, 3, dtype=stored)}, ("N", 3), wanted)
    assert value.dtype == wanted
    assert (value == np.ones((2, 3), wanted)).all()


def test_bfloat16_survives_numpy_files_that_call_it_void() -> None:
    stored = np.array([[1.5, -2.0]], ml_dtypes.bfloat16)
    assert first({"x": stored.view("V2")}, ("N", 2), ml_dtypes.bfloat16).tolist() == [[1.5, -2.0]]


def test_strings_become_objects() -> None:
    value = first({"x": np.array(["a", "bc"])}, ("N",), object)
    assert (value.dtype, value.tolist()) == (np.dtype(object), ["a", "bc"])


@pytest.mark.parametrize(
    ("stored", "wanted", "match"),
    [
        (
            "uint8",
            "float32",
            r"'x' holds uint8, but input 'x' takes float32; store its scale as 'x.scale' \(e.g. "
            r"1/255 for pixels\), or convert it with astype\('float32'\)",
        ),
        ("float32", "int64", r"takes int64; convert it with astype\('int64'\)"),
        ("float32", "bool", "takes bool; convert"),
        ("complex64", "float32", "holds complex64, but .* takes float32; convert"),
        ("datetime64[s]", "int64", r"holds datetime64\[s\]"),
        ("U3", "int64", "holds <U3"),
    ],
)
def test_unsafe_conversions_are_refused(stored: str, wanted: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        first({"x": np.zeros((2, 3), "int64").astype(stored)}, ("N", 3), wanted)


# --- scales


@pytest.mark.parametrize(
    ("scale", "per_channel"),
    [
        (np.float32(2), [2, 2, 2]),
        ([2.0], [2, 2, 2]),
        ([1.0, 2.0, 3.0], [1, 2, 3]),
        (np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1), [1, 2, 3]),
    ],
)
def test_a_scale_is_one_number_or_one_per_channel(scale: Any, per_channel: list[int]) -> None:
    source = {"x": ones(2, *IMAGE[1:], dtype="uint8"), "x.scale": scale, "x.offset": -1.0}
    value = first(source, IMAGE, "float16")
    assert value.dtype == np.float16
    np.testing.assert_array_equal(value[1, :, 0, 1], np.array(per_channel) - 1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_scale_applies_to_floats_as_well_in_the_models_precision(dtype: str) -> None:
    value = first({"x": ones(2, 3), "x.scale": np.float64(1 / 3)}, ("N", 3), dtype)
    assert value[0, 0] == np.dtype(dtype).type(1 / 3)


@pytest.mark.parametrize(
    ("scale", "dtype", "match"),
    [
        ([1.0, 2.0], "float32", r"'x.scale' has shape \(2,\), which does not broadcast over sam"),
        (ones(2, 2, 3, 2, 2), "float32", "does not broadcast"),
        ("big", "float32", "'x.scale' holds <U3; it must hold floats"),
        (2.0, "int64", "takes int64; remove its scale and offset, which only float inputs take"),
    ],
)
def test_a_scale_that_cannot_be_applied_is_refused(scale: Any, dtype: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        first({"x": ones(2, 3, 2, 2, dtype="uint8"), "x.scale": scale}, IMAGE, dtype)


def test_what_is_stored_stays_as_it_came() -> None:
    pixels = ones(2, 3, dtype="uint8")
    spec = InputSpec("x", np.dtype("float32"), ("N", 3))
    table = fit({"x": pixels, "x.scale": 0.5}, [spec], where="arrays", whole=False)
    assert table.columns[0].reading.stored.dtype == np.uint8
    assert np.shares_memory(table.columns[0].reading.stored, pixels)


# --- values


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("dtype", ["float16", ml_dtypes.bfloat16, "float32"])
def test_values_that_are_not_finite_in_the_models_dtype_are_refused(bad: float, dtype: Any) -> None:
    values = ones(7, 3, dtype="float64")
    values[[5, 6], 1] = bad
    with pytest.raises(DataError, match=r"'x' holds NaN or infinity as .* in sample 5; remove"):
        first({"x": values}, ("N", 3), dtype)


def test_the_sample_with_nan_is_counted_in_the_whole_stack_of_a_subset() -> None:
    values = ones(50, 3)
    values[25] = np.nan
    spec = InputSpec("x", np.dtype("float32"), ("N", 3))
    # 49 of 50: sample 25 is among them, and not the 25th, for this seed.
    with pytest.raises(DataError, match="in sample 25;"):
        open_data({"x": values}, [spec], samples=49, batch_size=2, seed=3)


@pytest.mark.parametrize(
    ("value", "stored", "wanted", "match"),
    [
        (300, "int64", "uint8", r"a value outside \[0, 255\] of uint8 in sample 3; correct"),
        (-1, "int8", "uint64", "a value outside"),
        (2**63, "uint64", "int64", "a value outside"),
        (2, "uint8", "bool", r"outside \[0, 1\] of bool"),
    ],
)
def test_integers_that_do_not_fit_are_refused(
    value: int, stored: str, wanted: str, match: str
) -> None:
    values = np.zeros((5, 3), stored)
    values[3, 2] = value
    with pytest.raises(DataError, match=match):
        first({"x": values}, ("N", 3), wanted)


def test_a_scalar_that_is_nan_is_refused() -> None:
    with pytest.raises(DataError, match="NaN or infinity"):
        first({"x": np.float32(np.nan)}, (), "float32")


def test_open_axes_of_size_zero_are_fed() -> None:
    assert first({"x": ones(2, 0)}, ("N", "L"), "float32").shape == (2, 0)


def test_arrays_of_as_many_axes_as_numpy_has_are_refused() -> None:
    most = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
    deep = ones(2, 3).reshape(2, 3, *[1] * (most - 2))
    with pytest.raises(DataError, match=r"'x' has shape"):
        opened({"x": deep}, x=(("N", 3), "float32"))
    source = {"x": ones(2, 3, dtype="uint8"), "x.scale": deep}
    with pytest.raises(DataError, match=r"does not broadcast over"):
        opened(source, x=(("N", 3), "float32"))
