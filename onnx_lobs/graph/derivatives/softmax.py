"""Differentiates Softmax and LogSoftmax."""

from __future__ import annotations

from collections.abc import Mapping

from onnx_lobs.graph.derivatives.step import BackwardStep, Found, Rule

ONE_AXIS = 13  # opset from which a softmax runs along one axis; before, along all from it on


def softmax(step: BackwardStep) -> Found:
    """Differentiate Softmax: y (g - sum(g y))."""
    weighted = step.op("Mul", step.gradient, step.y())
    total = step.writer.reduce("ReduceSum", weighted, *_axes(step))
    yield 0, step.op("Sub", weighted, step.op("Mul", step.y(), total))


def log_softmax(step: BackwardStep) -> Found:
    """Differentiate LogSoftmax: g - exp(y) sum(g)."""
    total = step.writer.reduce("ReduceSum", step.gradient, *_axes(step))
    yield 0, step.op("Sub", step.gradient, step.op("Mul", step.op("Exp", step.y()), total))


def _axes(step: BackwardStep) -> tuple[int, ...]:
    rank, is_new = len(step.shape()), step.writer.opset >= ONE_AXIS
    axis = step.attribute("axis", -1 if is_new else 1) % rank
    return (axis,) if is_new else tuple(range(axis, rank))


SOFTMAX: Mapping[str, Rule] = {"LogSoftmax": log_softmax, "Softmax": softmax}
