"""Looks at the scale of inputs: pixels that were never scaled, and test data of another scale.

A network that was trained on -1 to 1 may still tell 0 to 255 apart, but worse: its outputs depend
less on the sample. One that was trained on 0 to 255 shows the opposite. So pixels are given to it
both ways, and its outputs say which it knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.batches import Batches
from onnx_lobs.evaluation.samples import by_sample
from onnx_lobs.graph.model import is_float
from onnx_lobs.graph.run.staged import Runnable

LOOKED_AT = 32  # samples, at the most
LEAST = 8  # samples whose outputs can be compared
BRIGHT, BRIGHTEST = 64, 255  # a pixel that some image has, and the largest value of a byte
RANKS = (3, 4)  # of images, with the axis of samples
CLEARLY = 0.6  # of the variation: EfficientNet-Lite0 shows .46 of it, where the right scale has all
FAR = 8.0  # times as wide: -1 to 1 and 0 to 255 are 60 apart, 0 to 1 and -2 to 2 only three


def doubtful_pixels(network: Runnable, batches: Batches) -> list[str]:
    """Return a warning where images of 0 to 255 move the outputs less than images of -1 to 1 do.

    Parameters
    ----------
    network
        The dense one, as it is judged.
    batches
        Calibration data, of which the first LOOKED_AT samples are looked at.

    Notes
    -----
    Cost: nothing but the first batches, where no floating input holds whole numbers up to 255 only;
    else two forward passes over them.
    """
    feeds = list(_first(batches, LOOKED_AT))
    names = _pixels([each for each, _ in feeds])
    if not names or sum(size for _, size in feeds) < LEAST:
        return []
    scaled = [({**each, **_scaled(each, names)}, size) for each, size in feeds]
    own, other = _variation(network, feeds), _variation(network, scaled)
    if own is None or other is None or own >= CLEARLY * other:
        return []
    return [
        f"input {', '.join(map(repr, names))} holds pixels of 0 to 255, of which the dense "
        f"network's outputs depend less than of the same from -1 to 1 ({own:.2g} of their mean "
        f"square against {other:.2g}): scale them as in training"
    ]


def unlike_scales(batches: Batches, test: Batches) -> list[str]:
    """Return a warning for each input that is far wider in calibration data than in test data.

    Or far narrower. Cost: the first batches of both are read.
    """
    seen, tested = (_spreads(each for each, _ in _first(x, LOOKED_AT)) for x in (batches, test))
    found = []
    for name, spread in seen.items():
        other = tested.get(name)
        if other is None or not spread.width or not other.width:
            continue
        if not 1 / FAR < spread.width / other.width < FAR:
            found.append(
                f"input {name!r} goes from {spread.low:.4g} to {spread.high:.4g} in the "
                f"calibration data and from {other.low:.4g} to {other.high:.4g} in the test data: "
                "scale both as in training"
            )
    return found


@dataclass(frozen=True)
class InputSpread:
    """The least and the largest value of an input, and its standard deviation."""

    low: float
    high: float
    width: float


def _first(batches: Batches, most: int) -> Iterator[tuple[Mapping[str, Array], int]]:
    """Yield the first batches with their sizes, until they hold so many samples."""
    n = 0
    for index, size in enumerate(batches.sizes):
        if n >= most:
            return
        yield batches.load(index), size
        n += size


def _pixels(feeds: list[Mapping[str, Array]]) -> list[str]:
    """Return the floating inputs that are images of whole numbers from 0 to 255."""
    names = [n for n, x in feeds[0].items() if is_float(x.dtype) and x.ndim in RANKS]
    return [name for name in names if _are_bytes([np.asarray(each[name]) for each in feeds])]


def _are_bytes(values: list[Array]) -> bool:
    whole = all(x.size and x.min() >= 0 and np.all(x == np.floor(x)) for x in values)
    return whole and BRIGHT <= max(float(x.max()) for x in values) <= BRIGHTEST


def _scaled(feeds: Mapping[str, Array], names: list[str]) -> dict[str, Array]:
    half = BRIGHTEST / 2
    return {n: ((feeds[n] - half) / half).astype(feeds[n].dtype) for n in names}


def _variation(network: Runnable, feeds: Iterable[tuple[Mapping[str, Array], int]]) -> float | None:
    """Return how much of the outputs' mean square differs between samples, None if not known."""
    rows: dict[str, list[Array]] = {}
    for each, size in feeds:
        for name, value in network.run(each).items():
            if isinstance(value, np.ndarray) and is_float(value.dtype) and value.size:
                rows.setdefault(name, []).append(by_sample(value.astype(np.float64), size))
    apart = whole = 0.0
    for parts in rows.values():
        if len({part.shape[1:] for part in parts}) > 1:
            return None
        joined = np.concatenate(parts)
        if not np.isfinite(joined).all():
            return None
        apart += float(np.square(joined - joined.mean(axis=0)).sum())
        whole += float(np.square(joined).sum())
    return apart / whole if whole else None


def _spreads(feeds: Iterable[Mapping[str, Array]]) -> dict[str, InputSpread]:
    """Return what the floating inputs of some batches cover."""
    values: dict[str, list[Array]] = {}
    for each in feeds:
        for name, value in each.items():
            if is_float(value.dtype) and value.size:
                values.setdefault(name, []).append(value.astype(np.float64).ravel())
    joined = {name: np.concatenate(parts) for name, parts in values.items()}
    return {
        n: InputSpread(float(x.min()), float(x.max()), float(x.std())) for n, x in joined.items()
    }
