"""Differentiates functions of one value, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx

from onnx_lobs.graph.derivatives.step import BackwardStep, Found, Rule

Slope = Callable[[BackwardStep], str]
"""what appends the nodes that make the derivative at every element"""


def by_slope(slope: Slope) -> Rule:
    """Return the rule of a function whose derivative is `slope`: gradient times slope."""

    def rule(step: BackwardStep) -> Found:
        yield 0, step.op("Mul", step.gradient, slope(step))

    return rule


def pass_on(step: BackwardStep) -> Found:
    """Pass the gradient on as it is: Identity, Dropout as it runs."""
    yield 0, step.gradient


def negate(step: BackwardStep) -> Found:
    """Differentiate Neg."""
    yield 0, step.op("Neg", step.gradient)


def cast(step: BackwardStep) -> Found:
    """Differentiate Cast between floating types: the gradient gets the input's type."""
    kind = step.values.types[step.x()]
    if kind.kind == "f":
        to = int(_element_type(kind))
        yield 0, step.op("Cast", step.gradient, to=to)


def relu(step: BackwardStep) -> Found:
    """Differentiate Relu, with 0 at 0."""
    yield 0, step.op("Mul", step.gradient, step.op("Sign", step.y()))


def clip(step: BackwardStep) -> Found:
    """Differentiate Clip, with 0 at its limits and beyond.

    It is the output that is compared, so that onnxruntime can still make a Conv and its Clip one.
    Limits that are inputs are compared as they are in the graph. Their own gradient is not made.
    """
    conditions = []
    if step.has(1):
        conditions.append(step.op("Greater", step.y(), step.x(1)))
    if step.has(2):
        conditions.append(step.op("Less", step.y(), step.x(2)))
    if not conditions:
        yield 0, step.gradient
        return
    inside = conditions[0] if len(conditions) == 1 else step.op("And", *conditions)
    yield 0, _where(step, inside)


def leaky_relu(step: BackwardStep) -> Found:
    """Differentiate LeakyRelu, with `alpha` at 0."""
    small = step.scaled(step.gradient, step.attribute("alpha", 0.01))
    yield 0, step.op("Where", _above(step, step.x(), 0.0), step.gradient, small)


def elu(step: BackwardStep) -> Found:
    """Differentiate Elu: 1 above 0, else what the output is above minus alpha."""
    slope = step.op("Add", step.y(), step.constant(step.attribute("alpha", 1.0)))
    small = step.op("Mul", step.gradient, slope)
    yield 0, step.op("Where", _above(step, step.x(), 0.0), step.gradient, small)


def hard_sigmoid(step: BackwardStep) -> Found:
    """Differentiate HardSigmoid, with 0 at its limits."""
    inside = step.op("And", _above(step, step.y(), 0.0), _below(step, step.y(), 1.0))
    yield 0, step.scaled(_where(step, inside), step.attribute("alpha", 0.2))


def hard_swish(step: BackwardStep) -> Found:
    """Differentiate HardSwish: 0 up to -3, 1 from 3 on, between them x/3 + 1/2."""
    middle = step.op("Add", step.scaled(step.x(), 1 / 3), step.constant(0.5))
    upper = step.op("Where", _below(step, step.x(), 3.0), middle, step.constant(1.0))
    slope = step.op("Where", _above(step, step.x(), -3.0), upper, step.constant(0.0))
    yield 0, step.op("Mul", step.gradient, slope)


def _sigmoid(step: BackwardStep) -> str:
    return step.op("Mul", step.y(), step.op("Sub", step.constant(1.0), step.y()))


def _tanh(step: BackwardStep) -> str:
    return step.op("Sub", step.constant(1.0), step.op("Mul", step.y(), step.y()))


def _erf(step: BackwardStep) -> str:
    return step.scaled(_bell(step, 1.0), 2 / math.sqrt(math.pi))


def _gelu(step: BackwardStep) -> str:
    """Return cdf(x) + x pdf(x) of the normal distribution, or the derivative of its tanh form."""
    if step.attribute("approximate", "none") == "tanh":
        return _gelu_tanh(step)
    erf = step.op("Erf", step.scaled(step.x(), math.sqrt(0.5)))
    cdf = step.scaled(step.op("Add", erf, step.constant(1.0)), 0.5)
    pdf = step.scaled(_bell(step, 0.5), 1 / math.sqrt(2 * math.pi))
    return step.op("Add", cdf, step.op("Mul", step.x(), pdf))


def _gelu_tanh(step: BackwardStep) -> str:
    a, b = math.sqrt(2 / math.pi), 0.044715
    square = step.op("Mul", step.x(), step.x())
    cubed = step.op("Mul", step.x(), step.op("Add", step.scaled(square, a * b), step.constant(a)))
    t = step.op("Tanh", cubed)
    rise = step.op("Sub", step.constant(1.0), step.op("Mul", t, t))
    inner = step.op("Add", step.scaled(square, 3 * a * b), step.constant(a))
    tail = step.op("Mul", step.x(), step.op("Mul", rise, inner))
    return step.scaled(step.op("Add", step.op("Add", t, step.constant(1.0)), tail), 0.5)


def _bell(step: BackwardStep, factor: float) -> str:
    """Return exp(-factor x²)."""
    return step.op("Exp", step.scaled(step.op("Mul", step.x(), step.x()), -factor))


def _exp(step: BackwardStep) -> str:
    return step.y()


def _log(step: BackwardStep) -> str:
    return step.op("Reciprocal", step.x())


def _sqrt(step: BackwardStep) -> str:
    return step.op("Div", step.constant(0.5), step.y())


def _reciprocal(step: BackwardStep) -> str:
    return step.op("Neg", step.op("Mul", step.y(), step.y()))


def _abs(step: BackwardStep) -> str:
    return step.op("Sign", step.x())


def _softplus(step: BackwardStep) -> str:
    return step.op("Sigmoid", step.x())


def _sin(step: BackwardStep) -> str:
    return step.op("Cos", step.x())


def _cos(step: BackwardStep) -> str:
    return step.op("Neg", step.op("Sin", step.x()))


def _above(step: BackwardStep, value: str, limit: float) -> str:
    return step.op("Greater", value, step.constant(limit))


def _below(step: BackwardStep, value: str, limit: float) -> str:
    return step.op("Less", value, step.constant(limit))


def _where(step: BackwardStep, condition: str) -> str:
    """Return the gradient where a condition holds, else 0."""
    return step.op("Mul", step.gradient, step.as_numbers(condition))


def _element_type(kind: np.dtype[np.generic]) -> int:
    return int(onnx.helper.np_dtype_to_tensor_dtype(kind))


ELEMENTWISE: Mapping[str, Rule] = {
    "Abs": by_slope(_abs),
    "Cast": cast,
    "Clip": clip,
    "Cos": by_slope(_cos),
    "Dropout": pass_on,
    "Elu": elu,
    "Erf": by_slope(_erf),
    "Exp": by_slope(_exp),
    "Gelu": by_slope(_gelu),
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Identity": pass_on,
    "LeakyRelu": leaky_relu,
    "Log": by_slope(_log),
    "Neg": negate,
    "Reciprocal": by_slope(_reciprocal),
    "Relu": relu,
    "Sigmoid": by_slope(_sigmoid),
    "Sin": by_slope(_sin),
    "Softplus": by_slope(_softplus),
    "Sqrt": by_slope(_sqrt),
    "Tanh": by_slope(_tanh),
}
