"""Tasks of small layers, from random inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Calibration, Moments, TargetMoments
from onnx_lobs.solvers.layerwise import LayerTask

ROWS, COLUMNS, SAMPLES = 6, 12, 400

Array = np.ndarray[Any, np.dtype[np.float64]]


def inputs(seed: int, samples: int = SAMPLES, groups: int = 1) -> Array:
    """Return correlated inputs (groups, samples, COLUMNS) with means of their own."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((COLUMNS, COLUMNS))
    return rng.standard_normal((groups, samples, COLUMNS)) @ mixing + rng.standard_normal(COLUMNS)


def moments_of(x: Array, y: Array | None = None) -> Moments:
    """Return the moments of inputs, and of targets where there are any."""
    gram = Gram(x.shape[0], x.shape[2])
    centred = gram.update(x)
    if y is None:
        return Moments(gram)
    targets = TargetMoments.zeros(y.shape[0], y.shape[2], x.shape[2])
    targets.update(y, centred)
    return Moments(gram, targets)


def task_of(
    parts: list[tuple[Moments, Moments]], weight: Array, centred: bool, **options: Any
) -> LayerTask:
    """Return the task of a layer whose uses have these moments, fitted to and held out."""
    calibration = Calibration(tuple(fit for fit, _ in parts), tuple(held for _, held in parts))
    options.setdefault("n_prune", weight.size // 2)
    return LayerTask(weight, calibration, (centred,) * len(parts), **options)


def split(x: Array, y: Array | None = None) -> tuple[Moments, Moments]:
    """Return the moments of nine tenths of the samples, and of the last one."""
    cut = x.shape[1] * 9 // 10
    if y is None:
        return moments_of(x[:, :cut]), moments_of(x[:, cut:])
    return moments_of(x[:, :cut], y[:, :cut]), moments_of(x[:, cut:], y[:, cut:])
