"""Differentiates arithmetic of several values, with the sums that broadcasting asks for."""

from __future__ import annotations

from collections.abc import Mapping

from onnx_lobs.graph.derivatives.step import BackwardStep, Found, NoDerivativeError, Rule


def add(step: BackwardStep) -> Found:
    """Differentiate Add and Sum."""
    for position in sorted(step.wanted):
        yield position, step.fitted(step.gradient, position)


def mean(step: BackwardStep) -> Found:
    """Differentiate Mean of several values."""
    part = step.scaled(step.gradient, 1 / len(step.node.input))
    for position in sorted(step.wanted):
        yield position, step.fitted(part, position)


def subtract(step: BackwardStep) -> Found:
    """Differentiate Sub."""
    if step.wants(0):
        yield 0, step.fitted(step.gradient, 0)
    if step.wants(1):
        yield 1, step.op("Neg", step.fitted(step.gradient, 1))


def multiply(step: BackwardStep) -> Found:
    """Differentiate Mul."""
    for position in sorted(step.wanted):
        other = step.x(1 - position)
        yield position, step.fitted(step.op("Mul", step.gradient, other), position)


def divide(step: BackwardStep) -> Found:
    """Differentiate Div: g / b, and -g y / b."""
    over = step.op("Div", step.gradient, step.x(1))
    if step.wants(0):
        yield 0, step.fitted(over, 0)
    if step.wants(1):
        yield 1, step.fitted(step.op("Neg", step.op("Mul", over, step.y())), 1)


def power(step: BackwardStep) -> Found:
    """Differentiate Pow in its base; the exponent has no gradient.

    An exponent that is one number, 2 or 1/2 mostly, makes no logarithm and no NaN at 0.
    """
    if step.wants(1):
        raise NoDerivativeError("the exponent of a Pow has no rule")
    exponent = step.fixed(1).astype(float)
    if exponent.size == 1 and exponent.item() == 2:
        slope = step.scaled(step.x(), 2)
    else:
        rest = step.op("Pow", step.x(), step.constant(exponent - 1))
        slope = step.op("Mul", rest, step.constant(exponent))
    yield 0, step.fitted(step.op("Mul", step.gradient, slope), 0)


def where(step: BackwardStep) -> Found:
    """Differentiate Where in both of its values."""
    zero = step.constant(0.0)
    if step.wants(1):
        yield 1, step.fitted(step.op("Where", step.x(), step.gradient, zero), 1)
    if step.wants(2):
        yield 2, step.fitted(step.op("Where", step.x(), zero, step.gradient), 2)


def extreme(step: BackwardStep) -> Found:
    """Differentiate Max and Min of several values; equal ones share the gradient."""
    kind = step.values.types[step.x()]
    if kind.kind != "f":
        raise NoDerivativeError(f"{kind} values have none")
    is_it = [step.as_numbers(step.op("Equal", name, step.y())) for name in step.node.input]
    share = step.op("Div", step.gradient, step.op("Sum", *is_it))
    for position in sorted(step.wanted):
        yield position, step.fitted(step.op("Mul", share, is_it[position]), position)


ARITHMETIC: Mapping[str, Rule] = {
    "Add": add,
    "Div": divide,
    "Max": extreme,
    "Mean": mean,
    "Min": extreme,
    "Mul": multiply,
    "Pow": power,
    "Sub": subtract,
    "Sum": add,
    "Where": where,
}
