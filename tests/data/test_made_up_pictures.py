"""Made-up pictures have the spectrum and the colours of natural ones."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.data.made_up_pictures import COMMON, channel_axis, natural_pictures
from onnx_lobs.data.synthetic import synthetic_batches

SHAPE = (64, 3, 64, 64)
SLOPE_ERROR = 0.1  # of a slope fitted over 20 frequencies of 64 pictures
MOMENT_ERROR = 0.1  # the brightness of 64 pictures as wholes decides it, each half the variance


def pictures(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return natural_pictures(shape, np.random.default_rng(0))


def test_the_amplitude_falls_as_one_over_the_frequency() -> None:
    line = np.mean(np.abs(np.fft.fft2(pictures()[:, 0])) ** 2, axis=0)[0, 2:22]
    slope = np.polyfit(np.log(np.arange(2, 22)), np.log(line), 1)[0]
    assert slope == pytest.approx(-2, abs=SLOPE_ERROR)


def test_mean_is_0_variance_1_and_colours_go_together() -> None:
    made = pictures().astype(np.float64)
    assert abs(made.mean()) < 3 * MOMENT_ERROR
    assert made.var() == pytest.approx(1, abs=2 * MOMENT_ERROR)
    red, green = made[:, 0].reshape(-1), made[:, 1].reshape(-1)
    assert np.corrcoef(red, green)[0, 1] == pytest.approx(COMMON, abs=MOMENT_ERROR)


def test_channels_may_stand_last() -> None:
    np.testing.assert_array_equal(
        pictures((2, 9, 12, 3)), np.moveaxis(pictures((2, 3, 9, 12)), 1, 3)
    )


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((1, 3, 8, 8), 1), ((1, 1, 8, 9), 1), ((1, 8, 8, 3), 3), ((1, 3, 7, 8), None),
     ((1, 2, 8, 8), None), ((3, 8, 8), None), ((1, 3, 8, 8, 8), None)],
)  # fmt: skip
def test_what_looks_like_pictures(shape: tuple[int, ...], axis: int | None) -> None:
    assert channel_axis(shape) == axis


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
def test_made_up_inputs_of_models_of_pictures_are_such(dtype: str) -> None:
    spec = InputSpec("x", np.dtype(dtype), ("N", 3, 32, 32))
    options = {"samples": 4, "batch_size": 4, "seed": 0, "input_shapes": {}}
    made = next(iter(synthetic_batches([spec], **options)))["x"]
    assert made.dtype == dtype
    apart = np.abs(np.diff(made.astype(np.float64), axis=3)).mean()
    assert apart < made.astype(np.float64).std()  # of white noise it is 1.13 times that
