"""Differentiates normalisations in their inputs, scales and biases."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnx_lobs.graph.derivatives.step import BackwardStep, Found, NoDerivativeError, Rule


def batch_normalization(step: BackwardStep) -> Found:
    """Differentiate BatchNormalization as it runs: its mean and variance are constants."""
    if step.attribute("training_mode", 0):
        raise NoDerivativeError("it is in training mode")
    if step.wants(3) or step.wants(4):
        raise NoDerivativeError("the mean and variance of a BatchNormalization have no rule")
    rank, g = len(step.shape()), step.gradient
    axes, column = [0, *range(2, rank)], (-1, *[1] * (rank - 2))
    variance, epsilon = step.fixed(4).astype(float), step.attribute("epsilon", 1e-5)
    over = 1 / np.sqrt(variance + epsilon)
    if step.wants(0):
        factor = step.op("Mul", step.x(1), step.constant(over))
        yield 0, step.op("Mul", g, step.reshaped(factor, column))
    if step.wants(1):
        mean = step.constant(step.fixed(3).reshape(column))
        centred = step.op(
            "Mul", step.op("Sub", step.x(), mean), step.constant(over.reshape(column))
        )
        summed = step.writer.reduce("ReduceSum", step.op("Mul", g, centred), *axes)
        yield 1, step.reshaped(summed, step.shape(1))
    if step.wants(2):
        yield 2, step.reshaped(step.writer.reduce("ReduceSum", g, *axes), step.shape(2))


def layer_normalization(step: BackwardStep) -> Found:
    """Differentiate LayerNormalization over the axes from `axis` on."""
    rank = len(step.shape())
    axes = range(step.attribute("axis", -1) % rank, rank)
    yield from _own_statistics(step, tuple(axes), step.x(1), step.shape(1))


def instance_normalization(step: BackwardStep) -> Found:
    """Differentiate InstanceNormalization: over the pixels of each channel of each sample."""
    rank = len(step.shape())
    column = (step.shape(1)[0], *[1] * (rank - 2))
    scale = step.reshaped(step.x(1), column)
    for position, name in _own_statistics(step, tuple(range(2, rank)), scale, column):
        yield position, step.reshaped(name, step.shape(position)) if position else name


def _own_statistics(
    step: BackwardStep, axes: tuple[int, ...], scale: str, shape: tuple[int, ...]
) -> Found:
    """Differentiate (x - mean) / deviation * scale + bias, whose statistics come from x."""

    def mean(value: str) -> str:
        return step.writer.reduce("ReduceMean", value, *axes)

    g, epsilon = step.gradient, step.constant(step.attribute("epsilon", 1e-5))
    # the normalised values again: what the node has of them it does not give
    centred = step.op("Sub", step.x(), mean(step.x()))
    variance = mean(step.op("Mul", centred, centred))
    over = step.op("Reciprocal", step.op("Sqrt", step.op("Add", variance, epsilon)))
    normal = step.op("Mul", centred, over)
    if step.wants(0):
        scaled = step.op("Mul", g, scale)
        along = step.op("Mul", normal, mean(step.op("Mul", scaled, normal)))
        rest = step.op("Sub", step.op("Sub", scaled, mean(scaled)), along)
        yield 0, step.op("Mul", rest, over)
    if step.wants(1):
        yield 1, step.summed(step.op("Mul", g, normal), step.out_shape(), shape)
    if step.wants(2):
        yield 2, step.summed(g, step.out_shape(), shape)


NORMALISATION: Mapping[str, Rule] = {
    "BatchNormalization": batch_normalization,
    "InstanceNormalization": instance_normalization,
    "LayerNormalization": layer_normalization,
}
