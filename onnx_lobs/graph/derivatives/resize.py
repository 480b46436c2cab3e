"""Differentiates Resize by the transposed matrices of every axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from onnx_lobs.arrays import FloatArray
from onnx_lobs.graph.derivatives.step import BackwardStep, Found, NoDerivativeError, Rule

Rounding = Callable[[FloatArray], FloatArray]
ROUNDINGS: Mapping[str, Rounding] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize(step: BackwardStep) -> Found:
    """Differentiate Resize, nearest or linear."""
    mode = step.attribute("mode", "nearest")
    if mode not in ("nearest", "linear") or step.attribute("antialias", 0):
        raise NoDerivativeError(f"mode {mode!r}, or antialias, has no rule")
    if step.has(1) and step.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise NoDerivativeError("tf_crop_and_resize has no rule")
    before, after, gradient = step.shape(), step.out_shape(), step.gradient
    for axis, (n, m) in enumerate(zip(before, after, strict=True)):
        if n != m:
            gradient = _along(step, gradient, axis, axis_matrix(step, n, m, _scale(step, axis)))
    yield 0, gradient


def _along(step: BackwardStep, gradient: str, axis: int, matrix: FloatArray) -> str:
    """Multiply along one axis by a transposed matrix (outputs, inputs)."""
    order = list(range(len(step.shape())))
    order[axis], order[-1] = order[-1], order[axis]
    moved = step.op("Transpose", gradient, perm=order)
    return step.op("Transpose", step.op("MatMul", moved, step.constant(matrix)), perm=order)


def _scale(step: BackwardStep, axis: int) -> float:
    """Return the scale of an axis: the one given, or the quotient of the sizes."""
    n, m = step.shape()[axis], step.out_shape()[axis]
    given = step.fixed(2).reshape(-1) if step.has(2) else np.zeros(0)
    if not given.size or step.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        return m / n
    axes = [a % len(step.shape()) for a in step.attribute("axes") or range(len(step.shape()))]
    return float(given[axes.index(axis)]) if axis in axes else 1.0


def axis_matrix(step: BackwardStep, n: int, m: int, scale: float) -> FloatArray:
    """Return the matrix (m, n) by which a Resize makes m elements of n along an axis."""
    x = _coordinates(step.attribute("coordinate_transformation_mode", "half_pixel"), n, m, scale)
    matrix, rows = np.zeros((m, n)), np.arange(m)
    if step.attribute("mode", "nearest") == "nearest":
        nearest = ROUNDINGS[step.attribute("nearest_mode", "round_prefer_floor")](x)
        matrix[rows, np.clip(nearest, 0, n - 1).astype(int)] = 1
        return matrix
    x = np.clip(x, 0, n - 1)
    low = np.minimum(np.floor(x).astype(int), max(n - 2, 0))
    matrix[rows, low] += 1 - (x - low)
    matrix[rows, np.minimum(low + 1, n - 1)] += x - low
    return matrix


def _coordinates(mode: str, n: int, m: int, scale: float) -> FloatArray:
    """Return where each of m outputs lies among n inputs, by the ONNX specification."""
    at = np.arange(m, dtype=np.float64)
    if mode == "asymmetric":
        return at / scale
    if mode == "align_corners":
        return at * (n - 1) / (m - 1) if m > 1 else at * 0
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and m > 1):
        return (at + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return at * 0
    if mode == "half_pixel_symmetric":
        adjusted = m / (n * scale)
        return n / 2 * (1 - adjusted) + (at + 0.5) / scale - 0.5
    raise NoDerivativeError(f"coordinates by {mode!r} have no rule")


RESIZE: Mapping[str, Rule] = {"Resize": resize}
