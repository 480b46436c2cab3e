"""Inputs that are pictures become small ones; others become none."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from onnx_lobs.evaluation.thumbnail import MOST_PIXELS, thumbnail


def decoded(png: bytes) -> np.ndarray:
    width, height, _, color_type = struct.unpack_from(">2I2B", png, 16)
    start = png.index(b"IDAT") + 4
    data = np.frombuffer(zlib.decompress(png[start:]), np.uint8).reshape(height, -1)
    return data[:, 1:].reshape(height, width, {0: 1, 2: 3}[color_type])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("is_last", [False, True])
def test_a_small_picture_is_stretched_to_all_grey_values(channels: int, is_last: bool) -> None:
    values = np.random.default_rng(0).normal(size=(4, channels, 9, 12)).astype(np.float32)
    feed = values.transpose(0, 2, 3, 1) if is_last else values
    png = thumbnail({"ids": np.zeros((4, 3)), "x": feed}, 2, 4)
    assert png is not None
    one = values[2].transpose(1, 2, 0).astype(np.float64)
    wanted = np.round(255 * (one - one.min()) / (one.max() - one.min()))
    assert np.array_equal(decoded(png), wanted)


def test_a_large_picture_keeps_its_form() -> None:
    values = np.zeros((1, 3, 224, 112), np.float32)
    values[:, :, 112:] = 1
    png = thumbnail({"x": values}, 0, 1)
    assert png is not None
    pixels = decoded(png)
    assert pixels.shape == (MOST_PIXELS, MOST_PIXELS // 2, 3)
    assert not pixels[: MOST_PIXELS // 2].any()
    assert (pixels[MOST_PIXELS // 2 :] == 255).all()


def test_values_that_are_no_numbers_are_black() -> None:
    values = np.full((1, 1, 8, 8), np.nan, np.float32)
    values[0, 0, 0, 0] = np.inf
    png = thumbnail({"x": values}, 0, 1)
    assert png is not None
    assert not decoded(png).any()


@pytest.mark.parametrize(
    "shape", [(2, 16), (2, 4, 9, 9), (2, 3, 1, 100), (1, 3, 9, 9), (2, 2, 2, 2)]
)
def test_what_is_no_picture_has_none(shape: tuple[int, ...]) -> None:
    assert thumbnail({"x": np.zeros(shape, np.float32)}, 0, 2) is None


def test_texts_are_no_pictures() -> None:
    assert thumbnail({"x": np.zeros((1, 3, 9, 9), np.bool_)}, 0, 1) is None
