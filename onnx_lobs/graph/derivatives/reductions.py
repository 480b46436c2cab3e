"""Differentiates reductions over axes: sums, means, extremes, norms."""

from __future__ import annotations

import math
from collections.abc import Mapping

from onnx_lobs.graph.derivatives.step import BackwardStep, Found, Rule

Axes = tuple[int, ...]


def reduce_sum(step: BackwardStep) -> Found:
    """Differentiate ReduceSum: every element gets the gradient of its sum."""
    axes, g = _axes(step), step.gradient
    yield 0, _expanded(step, _kept(step, g, axes))


def reduce_mean(step: BackwardStep) -> Found:
    """Differentiate ReduceMean."""
    axes = _axes(step)
    part = step.scaled(step.gradient, 1 / math.prod(step.shape()[axis] for axis in axes))
    yield 0, _expanded(step, _kept(step, part, axes))


def reduce_extreme(step: BackwardStep) -> Found:
    """Differentiate ReduceMax and ReduceMin; equal elements share the gradient."""
    axes = _axes(step)
    yield (
        0,
        shared_extreme(step, _kept(step, step.gradient, axes), _kept(step, step.y(), axes), axes),
    )


def reduce_l2(step: BackwardStep) -> Found:
    """Differentiate ReduceL2: x over the norm."""
    axes = _axes(step)
    over = step.op("Div", step.gradient, step.y())
    yield 0, step.op("Mul", step.x(), _kept(step, over, axes))


def shared_extreme(step: BackwardStep, gradient: str, extreme: str, axes: Axes) -> str:
    """Share gradients between the elements that are equal to the extreme.

    `gradient` and `extreme` have the input's axes, with length 1 along `axes`.
    """
    is_it = step.op("Equal", step.x(), extreme)
    ones = step.as_numbers(is_it)
    count = step.writer.reduce("ReduceSum", ones, *axes)
    return step.op("Mul", ones, step.op("Div", gradient, count))


def _axes(step: BackwardStep) -> Axes:
    """Return the axes of a reduction: all where none are named, unless that means none."""
    axes = step.axes()
    if axes or step.attribute("noop_with_empty_axes", 0):
        return axes
    return tuple(range(len(step.shape())))


def _kept(step: BackwardStep, value: str, axes: Axes) -> str:
    """Return a value of the output's shape with the axes back that the reduction dropped."""
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(step.shape()))
    return value if step.out_shape() == shape else step.reshaped(value, shape)


def _expanded(step: BackwardStep, value: str) -> str:
    return step.op("Expand", value, step.writer.integers(*step.shape()))


REDUCTIONS: Mapping[str, Rule] = {
    "ReduceL2": reduce_l2,
    "ReduceMax": reduce_extreme,
    "ReduceMean": reduce_mean,
    "ReduceMin": reduce_extreme,
    "ReduceSum": reduce_sum,
}
