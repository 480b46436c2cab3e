"""Holds the table of operators: how each multiplies by its weight, or why it is not taken.

To add an operator, write what reads it, beside those below, add its line to ``OPERATORS``, and its
name to those of :mod:`onnx_lobs.options.what`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import onnx

from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, attributes
from onnx_lobs.layers.bias import find_add, find_input_bias
from onnx_lobs.layers.chain import Root, trace
from onnx_lobs.layers.convolution import match_conv, match_transposed_conv
from onnx_lobs.layers.einsum import match_einsum, read_equation
from onnx_lobs.layers.layout import matmul_layout
from onnx_lobs.layers.misfit import matrix_misfit
from onnx_lobs.layers.not_taken import NOT_TAKEN, foreign_refusal, function_operators
from onnx_lobs.layers.operand import NO_WEIGHTS, constant_weight, one_constant
from onnx_lobs.layers.place import Match, NodePlace
from onnx_lobs.layers.recurrent import match_inputs, match_states
from onnx_lobs.layers.refusal import Refusal, RefusalKind
from onnx_lobs.layers.state_taps import GATES

Found = Match | Refusal | None | tuple[Match | Refusal, ...]
"""what reading a node gives"""


@dataclass(frozen=True)
class Operator:
    """One row of the table.

    Parameters
    ----------
    read
        Returns how a node multiplies by its weight, or why it is not taken, or nothing as
        :func:`match`; for a node with several weights, one by one.
    fan_in
        Returns how many inputs an output sums up, at the most, for a node, which of its inputs is
        the weight, and the weight's shape; infinite where that is not known.
    rank
        The rank of what it multiplies by its weight, where that is always the same.
    is_bare
        Whether a node gives W x and no more: without a bias, and not scaled.
    weights
        Places of the inputs that can be weights.
    """

    read: Callable[[NodePlace], Found]
    fan_in: Callable[[onnx.NodeProto, int, tuple[int, ...]], float]
    rank: int | None = None
    is_bare: bool = False
    weights: tuple[int, ...] = (0, 1)


def match(place: NodePlace) -> tuple[Match | Refusal, ...]:
    """Return how `place` multiplies by its constant weights, or why not; mostly of one weight.

    Nothing: the node has no weights in the sense of this project (an activation, an Add, a
    product of two dynamic tensors).
    """
    found = _read(place)
    if isinstance(found, tuple):
        return found
    return () if found is None else (found,)


def _read(place: NodePlace) -> Found:
    node = place.node
    if node.domain in DEFAULT_DOMAINS:
        operator = OPERATORS.get(node.op_type)
        return NOT_TAKEN.get(node.op_type) if operator is None else operator.read(place)
    function = place.model.functions.get((node.domain, node.op_type))
    return foreign_refusal(place) if function is None else _function(place.model, function)


def _function(model: Model, function: onnx.FunctionProto) -> Refusal | None:
    """Return why a call of a model's own function is not taken, if it may hold weights."""
    if function_operators(model, function).isdisjoint((*OPERATORS, *NOT_TAKEN)):
        return None
    return Refusal(
        RefusalKind.FUNCTION,
        "a function of the model: inline it first, onnx.inliner.inline_local_functions",
    )


def _gemm(place: NodePlace) -> Match | Refusal:
    node = place.node
    found = one_constant(place)
    if isinstance(found, Refusal):
        return found
    root, constant_right = found
    if misfit := matrix_misfit(root.shape, (2,)):
        return misfit
    alpha = cast(float, place.attribute("alpha", 1.0))
    if alpha == 0:
        return Refusal(RefusalKind.NO_EFFECT, "its alpha is 0, so the weight has no effect")
    trans_a, trans_b = place.attribute("transA", 0), place.attribute("transB", 0)
    if constant_right:
        tapped, transposed, rows_first = node.input[0], bool(trans_a), bool(trans_b)
    else:
        tapped, transposed, rows_first = node.input[1], not trans_b, not trans_a
    beta = float(cast(float, place.attribute("beta", 1.0)))
    layout = matmul_layout(root.shape, rows_first)
    shape = (layout.rows,) if constant_right else (layout.rows, 1)
    use = dataclasses.replace(
        place.use(tapped),
        transposed=transposed,
        scale=alpha,
        bias=find_input_bias(place.model, place.scope, node, shape, beta),
    )
    return Match(use, root, layout)


def _matmul(place: NodePlace) -> Match | Refusal:
    node = place.node
    found = one_constant(place)
    if isinstance(found, Refusal):
        return found
    root, constant_right = found
    if misfit := matrix_misfit(root.shape, range(1, 31)):
        return misfit
    layout = matmul_layout(root.shape, rows_first=not constant_right)
    batch = root.shape[:-2]
    lead = batch if math.prod(batch) > 1 else ()
    if len(root.shape) == 1:
        shape: tuple[int, ...] = ()
    elif constant_right:
        shape = (*lead, 1, layout.rows) if lead else (layout.rows,)
    else:
        shape = (*lead, layout.rows, 1)
    use = dataclasses.replace(
        place.use(node.input[0 if constant_right else 1], layout.groups),
        batch=batch,
        transposed=not constant_right,
        bias=find_add(place.model, place.scope, node, shape),
    )
    return Match(use, root, layout)


def _einsum(place: NodePlace) -> Match | Refusal | None:
    names = place.node.input
    if len(names) == 2:
        found = one_constant(place)
        return found if isinstance(found, Refusal) else match_einsum(place, *found)
    if len(names) < 2:
        return None  # a transposition, a sum or a diagonal
    if any(isinstance(trace(place.model, place.scope, name), Root) for name in names):
        reason = f"a product of {len(names)} tensors: it has no one input to calibrate on"
        return Refusal(RefusalKind.UNSUPPORTED, reason)
    return NO_WEIGHTS


def _recurrent(place: NodePlace) -> tuple[Match | Refusal, ...]:
    inputs, states = (constant_weight(place, position) for position in OPERATORS["LSTM"].weights)
    return (
        match_inputs(place, inputs) if isinstance(inputs, Root) else inputs,
        match_states(place, states) if isinstance(states, Root) else states,
    )


def _conv_fan_in(node: onnx.NodeProto, place: int, shape: tuple[int, ...]) -> float:
    return math.prod(shape[1:])


def _transposed_fan_in(node: onnx.NodeProto, place: int, shape: tuple[int, ...]) -> float:
    return shape[0] * math.prod(shape[2:])  # of which strides and groups leave fewer


def _product_fan_in(node: onnx.NodeProto, place: int, shape: tuple[int, ...]) -> float:
    if len(shape) < 2:
        return math.inf
    is_turned = bool(attributes(node).get("transA" if place == 0 else "transB", 0))
    return shape[-1] if (place == 0) != is_turned else shape[-2]


def _einsum_fan_in(node: onnx.NodeProto, place: int, shape: tuple[int, ...]) -> float:
    equation = read_equation(node)
    if equation is None or len(equation[0]) != 2 or len(equation[0][place]) != len(shape):
        return math.inf
    terms, output = equation
    others = set(terms[1 - place]) - set(output) - set(terms[place])
    if others:  # summed up besides, and of a size that is not known
        return math.inf
    sizes = zip(terms[place], shape, strict=True)
    return math.prod(size for letter, size in sizes if letter not in output)


def _unknown_fan_in(node: onnx.NodeProto, place: int, shape: tuple[int, ...]) -> float:
    return math.inf


OPERATORS: Mapping[str, Operator] = {
    "Conv": Operator(match_conv, _conv_fan_in),
    "ConvTranspose": Operator(match_transposed_conv, _transposed_fan_in),
    "Gemm": Operator(_gemm, _product_fan_in, rank=2),
    "MatMul": Operator(_matmul, _product_fan_in, is_bare=True),
    "Einsum": Operator(_einsum, _einsum_fan_in),
    **dict.fromkeys(GATES, Operator(_recurrent, _unknown_fan_in, weights=(1, 2))),
}
