"""Made-up inputs: shapes, values, seeds, and the option that gives a shape."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.data.reader import Batches
from onnx_lobs.data.synthetic import synthetic_batches
from onnx_lobs.errors import ConfigError, DataError

Shape = tuple[int | str | None, ...] | None


def spec(shape: Shape, dtype: Any = "float32", name: str = "x") -> InputSpec:
    return InputSpec(name, np.dtype(dtype), shape)


def made(*inputs: InputSpec, **options: Any) -> Batches:
    options = {"samples": 5, "batch_size": 2, "seed": 0, "input_shapes": {}, **options}
    return synthetic_batches(inputs, **options)


def shape_of(shape: Shape, dtype: Any = "float32", name: str = "x", **options: Any) -> Any:
    return next(iter(made(spec(shape, dtype, name), **options)))[name].shape


def test_an_open_first_axis_counts_the_samples() -> None:
    batches = made(spec(("N", 3)))
    assert [batch["x"].shape for batch in batches] == [(2, 3), (2, 3), (1, 3)]
    assert batches.n_samples == 5
    assert batches.synthetic
    assert batches.origin == "synthetic inputs (5 samples, seed 0)"


@pytest.mark.parametrize(
    ("shape", "sizes"), [((1, 3), (1,) * 5), ((2, 3), (2, 2)), ((9, 3), (9,)), ((), (1,) * 5)]
)
def test_a_fixed_first_axis_wins(shape: Shape, sizes: tuple[int, ...]) -> None:
    assert made(spec(shape)).sizes == sizes


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (("N", 3, None, None), (2, 3, 224, 224)),
        (("N", "c", "h", "w"), (2, 3, 224, 224)),
        (("N", None, None, 3), (2, 224, 224, 3)),
        (("N", 1, None, "time"), (2, 1, 224, 32)),
        ((3, "h", "w"), (3, 224, 224)),
        (("N", None, 768), (2, 32, 768)),
        (("N", "seq"), (2, 32)),
        (("N", "N"), (2, 2)),
        (("N", 1, 8, None, None), (2, 1, 8, 32, 32)),
    ],
)
def test_open_axes_are_guessed(shape: Shape, expected: tuple[int, ...]) -> None:
    assert shape_of(shape) == expected


@pytest.mark.parametrize(("rows", "dtype", "top"), [(7, "int64", 6), (30_000, "int32", 29_000)])
def test_ids_are_rows_of_their_table(rows: int, dtype: str, top: int) -> None:
    ids = InputSpec("ids", np.dtype(dtype), ("N", 1000), rows)
    values = next(iter(made(ids)))["ids"]
    assert values.min() >= 0
    assert top <= values.max() < rows


def test_sound_is_long_and_known_by_its_name_and_lengths_are_those_of_the_inputs() -> None:
    inputs = spec(("N", "T"), name="waveforms"), spec(("N",), "int64", "waveforms_lens")
    batch = next(iter(made(*inputs)))
    assert batch["waveforms"].shape == (2, 16000)
    assert batch["waveforms_lens"].tolist() == [16000, 16000]
    assert shape_of(("N", "channels", "T"), name="audio") == (2, 32, 16000)
    assert shape_of(("N", "T"), "int64", "audio_codes") == (2, 32)


def test_integers_of_rank_4_are_no_images_unless_bytes() -> None:
    assert shape_of(("N", 2, None, 64), "int64") == (2, 2, 32, 64)
    batch = next(iter(made(spec(("N", 1, None, None), "uint8"))))
    assert batch["x"].shape == (2, 1, 224, 224)
    assert batch["x"].max() == 255


def test_one_symbolic_name_has_one_size() -> None:
    inputs = spec(("N", "L"), "int64", "ids"), spec(("N", "L", 4), name="x"), spec(("L",), name="z")
    batch = next(iter(made(*inputs, input_shapes={"x": (7, 9, 4)})))
    assert {name: array.shape for name, array in batch.items()} == {
        "ids": (7, 9),
        "x": (7, 9, 4),
        "z": (9,),
    }


@pytest.mark.parametrize(
    ("name", "dtype", "low", "high"),
    [
        ("ids", "int64", 0, 99),
        ("ids", "int8", 0, 99),
        ("ids", ml_dtypes.int4, 0, 7),
        ("attention_mask", "int64", 1, 1),
        ("attention_mask", "float32", 1, 1),
        ("token_type_ids", "int64", 0, 0),
        ("flag", "bool", 1, 1),
    ],
)
def test_values_suit_the_dtype_and_the_name(name: str, dtype: Any, low: int, high: int) -> None:
    values = next(iter(made(spec((1000,), dtype, name), batch_size=1000)))[name]
    assert values.dtype == dtype
    assert (int(values.min()), int(values.max())) == (low, high)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ml_dtypes.bfloat16])
def test_floats_are_standard_normal(dtype: Any) -> None:
    values = next(iter(made(spec((10_000,), dtype))))["x"]
    assert values.dtype == dtype
    # Ten standard deviations of the mean of 10,000.
    assert abs(values.astype(float).mean()) < 0.1
    assert abs(values.astype(float).std() - 1) < 0.1


def test_every_iteration_gives_the_same_and_another_seed_does_not() -> None:
    batches = made(spec(("N", 3)))
    one, two = (np.concatenate([batch["x"] for batch in batches]) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert len(np.unique(one)) == one.size
    other = next(iter(made(spec(("N", 3)), seed=1)))["x"]
    assert not np.array_equal(one[:2], other)


def test_a_given_shape_settles_an_unknown_rank() -> None:
    assert shape_of(None, input_shapes={"x": (1, 6)}) == (1, 6)
    with pytest.raises(DataError, match=r"rank of input 'x' is unknown.*--input-shape x:1x3x224"):
        made(spec(None))


@pytest.mark.parametrize("dtype", [object, "complex64"])
def test_types_that_cannot_be_made_up_are_refused(dtype: Any) -> None:
    with pytest.raises(DataError, match=r"takes .*, which cannot be made up; give data"):
        made(spec(("N",), dtype))


@pytest.mark.parametrize(
    ("shapes", "match"),
    [
        ({"z": (1,)}, "names 'z', which is no input; choose one of 'x'"),
        ({"x": (1, 3)}, "x:1x3 has 2 axes; the model wants 3"),
        ({"x": (1, 4, 5)}, "has 4 on axis 1; it must be 3 .the model fixes it"),
        ({"x": (1, 3, 5)}, "has 5 on axis 2; it must be 1 .'N' has that size"),
    ],
)
def test_a_given_shape_that_contradicts_the_model_is_refused(
    shapes: dict[str, tuple[int, ...]], match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        made(spec(("N", 3, "N")), input_shapes=shapes)


def test_open_batch_axes_behind_the_first_count_the_samples() -> None:
    inputs = (
        spec(("batch", 5), name="input"),
        spec((2, "batch", 3), name="state"),
        spec((), name="rate"),
    )
    batches = synthetic_batches(inputs, samples=6, batch_size=4, seed=0, input_shapes={})
    assert batches.sizes == (4, 2)
    assert [batch["state"].shape for batch in batches] == [(2, 4, 3), (2, 2, 3)]
    (only,) = synthetic_batches(
        [spec((5, "N", 2))], samples=3, batch_size=4, seed=0, input_shapes={}
    )
    assert only["x"].shape == (5, 3, 2)


@pytest.mark.parametrize("shape", [(2**40, 12), (2**62, 12), ("N", 2**31, 2**31), (2**29 + 1,)])
def test_sizes_that_would_take_all_memory_are_refused(shape: Shape) -> None:
    with pytest.raises(DataError, match=r"input 'x' takes .* at most 536870912 are made up; give"):
        made(spec(shape, "uint8"))
