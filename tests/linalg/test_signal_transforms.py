"""Fixed transforms of signals are recognised by their values, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.signal import get_window

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.linalg.signal_transforms import Transform, find_transform

WINDOWS = ("hann", "hamming", "blackman", "cosine", "bartlett", ("kaiser", 8.6), ("tukey", 0.5))
SEEDS = range(40)


def fourier(n: int) -> FloatArray:
    """Cosines, then sines, of all frequencies: (n + 2, n)."""
    angle = 2 * np.pi * np.arange(n // 2 + 1)[:, None] * np.arange(n) / n
    return np.concatenate([np.cos(angle), -np.sin(angle)])


def short_time(n: int, window: Any = "hann", length: int | None = None) -> FloatArray:
    """A Fourier transform of a window, with zeros around it where that is shorter."""
    length = n if length is None else length
    taps = np.pad(get_window(window, length), (n - length) // 2)
    return np.asarray(fourier(n) * taps)


def inverse_of(forward: FloatArray, window: Any = "hann") -> FloatArray:
    """The basis of an inverse transform as packages for separation store it."""
    made: FloatArray = np.linalg.pinv(forward).T * get_window(window, forward.shape[1])
    return made


def cosine(rows: int, n: int, lifter: float = 0.0) -> FloatArray:
    """The cosine transform of cepstra, orthonormal, and with a lifter if that is not 0."""
    k = np.arange(rows)[:, None]
    basis = np.cos(np.pi / n * (np.arange(n) + 0.5) * k) * np.sqrt(2 / n)
    basis[0] /= np.sqrt(2)
    return np.asarray(basis * (1 + lifter / 2 * np.sin(np.pi * k / max(lifter, 1))))


def modified_cosine(n: int) -> FloatArray:
    place = np.arange(2 * n)
    angle = np.pi / n * (place + 0.5 + n / 2) * (np.arange(n)[:, None] + 0.5)
    return np.asarray(np.sin(np.pi * (place + 0.5) / 2 / n) * np.cos(angle))


def constant_q(rate: float, lowest: float, bins: int, per_octave: int) -> FloatArray:
    """Real parts, then imaginary ones; each row has a window of its own length."""
    quality = 1 / (2 ** (1 / per_octave) - 1)
    width = int(2 ** np.ceil(np.log2(quality * rate / lowest)))
    basis = np.zeros((bins, width), complex)
    for row in range(bins):
        frequency = lowest * 2 ** (row / per_octave)
        length = int(np.ceil(quality * rate / frequency))
        first = (width - length) // 2
        turn = np.exp(2j * np.pi * frequency / rate * np.arange(length))
        basis[row, first : first + length] = get_window("hann", length) * turn / length
    return np.concatenate([basis.real, basis.imag])


def mel(rate: float, n: int, filters: int, *, of_hertz: bool, has_area: bool) -> FloatArray:
    """Triangles on the scale of hertz, or on that of mel; all with the same area or height."""
    scale = 2595 * np.log10(1 + np.linspace(0, rate / 2, n // 2 + 1) / 700)
    corners = np.linspace(0, scale[-1], filters + 2)
    hertz = 700 * (10 ** (corners / 2595) - 1)
    x, edge = (np.linspace(0, rate / 2, n // 2 + 1), hertz) if of_hertz else (scale, corners)
    rising = (x - edge[:-2, None]) / (edge[1:-1] - edge[:-2])[:, None]
    falling = (edge[2:, None] - x) / (edge[2:] - edge[1:-1])[:, None]
    height = 2 / (hertz[2:] - hertz[:-2])[:, None] if has_area else 1.0
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * height)


TRANSFORMS: dict[str, tuple[FloatArray, Transform]] = {
    **{f"fourier {n}": (fourier(n), Transform.SINUSOIDS) for n in (16, 64, 100, 512)},
    "cosines alone": (fourier(64)[:33], Transform.SINUSOIDS),
    "sines alone": (fourier(64)[33:], Transform.SINUSOIDS),
    **{f"{w} {n}": (short_time(n, w), Transform.SINUSOIDS) for w in WINDOWS for n in (32, 400)},
    "shorter window": (short_time(512, "hann", 400), Transform.SINUSOIDS),
    "inverse": (inverse_of(short_time(256)), Transform.SINUSOIDS),
    "inverse of a plain one": (inverse_of(fourier(64) * 4), Transform.SINUSOIDS),
    **{f"cepstra {m} of {n}": (cosine(m, n), Transform.SINUSOIDS) for m, n in ((13, 40), (20, 80))},
    "liftered cepstra": (cosine(13, 40, 22), Transform.SINUSOIDS),
    "modified cosine": (modified_cosine(64), Transform.SINUSOIDS),
    "constant Q": (constant_q(22050, 110, 36, 12), Transform.SINUSOIDS),
    "three octaves": (constant_q(8000, 110, 36, 12), Transform.SINUSOIDS),
    **{
        f"{count} filters of {n}, {of_hertz}, {area}": (
            mel(rate, n, count, of_hertz=of_hertz, has_area=area),
            Transform.FILTER_BANK,
        )
        for rate, n, count in ((16000, 400, 80), (16000, 512, 40), (22050, 2048, 128))
        for of_hertz in (True, False)
        for area in (True, False)
    },
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_fixed_transforms_are_recognised(name: str, dtype: Any) -> None:
    basis, kind = TRANSFORMS[name]
    assert find_transform(basis.astype(dtype)) is kind


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "transposed": lambda basis: basis.T,
    "convolution": lambda basis: basis[:, None],
    "convolution along a picture": lambda basis: basis[:, None, None],
    "pointwise": lambda basis: basis[:, :, None],
    "stack": lambda basis: np.stack([basis, basis]),
    "transposed stack": lambda basis: np.stack([basis.T, 2 * basis.T]),
    "scaled": lambda basis: basis * np.float32(1e-6),
    "scaled up": lambda basis: basis * np.float32(1e6),
}


@pytest.mark.parametrize(
    "name", ["fourier 64", "hann 400", "inverse", "80 filters of 400, True, True"]
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_and_the_scale_do_not_matter(name: str, layout: str) -> None:
    basis, _ = TRANSFORMS[name]
    assert find_transform(LAYOUTS[layout](basis.astype(np.float32))) is not None


SHAPES = [
    (8, 8),
    (4, 8),
    (16, 16),
    (64, 32),
    (64, 1, 25),
    (6, 1, 40),
    (5, 8),
    (100, 300),
    (2, 8, 9),
]
LEARNED: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "positive": lambda rng, shape: rng.uniform(0, 1, shape),
    "few entries": lambda rng, shape: rng.standard_normal(shape) * (rng.random(shape) < 0.1),
    "few positive entries": lambda rng, shape: rng.random(shape) * (rng.random(shape) < 0.05),
    "smooth": lambda rng, shape: np.cumsum(rng.standard_normal(shape), axis=-1),
    "smoother": lambda rng, shape: np.cumsum(np.cumsum(rng.standard_normal(shape), -1), -1),
    "rank one": lambda rng, shape: np.multiply.outer(
        rng.standard_normal(shape[:-1]), rng.standard_normal(shape[-1])
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", LEARNED)
def test_weights_at_random_are_none(kind: str, shape: tuple[int, ...]) -> None:
    weights = (LEARNED[kind](np.random.default_rng(seed), shape) for seed in SEEDS)
    assert {find_transform(weight) for weight in weights} == {None}


NEARLY = {
    "identity": np.eye(64),
    "ones": np.ones((16, 64)),
    "triangle": np.tri(64),
    "zeros": np.zeros((16, 64)),
    "one frequency": np.outer(np.arange(1, 17), np.sin(0.3 * np.arange(64))),
    "trained further": short_time(64) + 0.05 * np.random.default_rng(0).standard_normal((66, 64)),
    "half of it learned": np.concatenate(
        [short_time(64), np.random.default_rng(1).standard_normal((66, 64))]
    ),
    "windows of one pitch": np.cos(0.3 * np.arange(64)) * np.random.default_rng(2).random((16, 1)),
    "bumps of any shape": np.abs(mel(16000, 512, 40, of_hertz=True, has_area=False)) ** 4,
    "filters in no order": mel(16000, 512, 40, of_hertz=True, has_area=False)[::-3],
    "endless": np.full((16, 64), np.inf),
    "vector": np.sin(np.arange(64.0)),
    "four axes": np.ones((4, 4, 8, 8)),
    "too small": fourier(4),
}


@pytest.mark.parametrize("name", NEARLY)
def test_what_is_nearly_a_transform_is_none(name: str) -> None:
    assert find_transform(NEARLY[name].astype(np.float32)) is None
