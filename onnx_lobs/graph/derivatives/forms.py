"""Differentiates changes of form, which move values and compute nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnx_lobs.graph.derivatives.step import BackwardStep, Found, NoDerivativeError, Rule


def reshape(step: BackwardStep) -> Found:
    """Differentiate Reshape and its kin: the gradient gets the input's shape."""
    yield 0, step.reshaped(step.gradient, step.shape())


def transpose(step: BackwardStep) -> Found:
    """Differentiate Transpose by the inverse order of axes."""
    order = step.attribute("perm") or list(range(len(step.shape())))[::-1]
    yield 0, step.op("Transpose", step.gradient, perm=np.argsort(order).tolist())


def expand(step: BackwardStep) -> Found:
    """Differentiate Expand: a sum over the copies."""
    yield 0, step.fitted(step.gradient, 0)


def tile(step: BackwardStep) -> Found:
    """Differentiate Tile: a sum over the copies, along axes of their own."""
    repeats, shape = step.fixed(1).tolist(), step.shape()
    apart = tuple(n for pair in zip(repeats, shape, strict=True) for n in pair)
    copies = step.reshaped(step.gradient, apart)
    summed = step.writer.reduce("ReduceSum", copies, *range(0, len(apart), 2))
    yield 0, step.reshaped(summed, shape)


def depth_to_space(step: BackwardStep) -> Found:
    """Differentiate DepthToSpace: blocks of pixels become channels again."""
    block = step.attribute("blocksize")
    n, channels, height, width = step.out_shape()
    apart = (n, channels, height // block, block, width // block, block)
    order = [0, 1, 3, 5, 2, 4] if step.attribute("mode", "DCR") == "CRD" else [0, 3, 5, 1, 2, 4]
    moved = step.op("Transpose", step.reshaped(step.gradient, apart), perm=order)
    yield 0, step.reshaped(moved, step.shape())


def space_to_depth(step: BackwardStep) -> Found:
    """Differentiate SpaceToDepth: channels become blocks of pixels again."""
    n, channels, height, width = step.shape()
    block = step.attribute("blocksize")
    apart = (n, block, block, channels, height // block, width // block)
    moved = step.op("Transpose", step.reshaped(step.gradient, apart), perm=[0, 3, 4, 1, 5, 2])
    yield 0, step.reshaped(moved, step.shape())


def pad(step: BackwardStep) -> Found:
    """Differentiate Pad with a constant: what was added is cut off, what was cropped is zero."""
    if step.attribute("mode", "constant") != "constant":
        raise NoDerivativeError(f"mode {step.attribute('mode')!r} has no rule")
    rank, sizes = len(step.shape()), step.fixed(1).reshape(2, -1)
    axes = step.fixed(3).reshape(-1) % rank if step.has(3) else np.arange(rank)
    added = np.zeros((2, rank), np.int64)
    added[:, axes] = sizes
    gradient = step.gradient
    if (added < 0).any():
        back = step.writer.integers(*np.maximum(-added, 0).reshape(-1).tolist())
        gradient = step.op("Pad", gradient, back)
    starts = np.maximum(added[0], 0)
    stops = starts + step.shape()
    integers = step.writer.integers
    yield 0, step.op(
        "Slice", gradient, integers(*starts.tolist()), integers(*stops.tolist()),
        integers(*range(rank)),
    )  # fmt: skip


FORMS: Mapping[str, Rule] = {
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "Flatten": reshape,
    "Pad": pad,
    "Reshape": reshape,
    "SpaceToDepth": space_to_depth,
    "Squeeze": reshape,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": reshape,
}
