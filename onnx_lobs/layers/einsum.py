"""Reads an Einsum with one constant operand as a layer, where it is a plain product.

It is one where every axis of the weight is either an output of the layer (a row), an input (a
column), or an axis that all three have, along which there is one matrix each (a group): dense
projections (``bsd,de->bse``) and those of heads (``bshk,hkd->bsd``, ``bhsd,hde->bhse``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx

from onnx_lobs.graph.model import attributes
from onnx_lobs.layers.bias import find_add
from onnx_lobs.layers.bias_slot import BiasOrder
from onnx_lobs.layers.chain import Root
from onnx_lobs.layers.contraction import Contraction
from onnx_lobs.layers.layer import Use
from onnx_lobs.layers.layout import WeightLayout
from onnx_lobs.layers.place import Match, NodePlace
from onnx_lobs.layers.refusal import Refusal, RefusalKind

OPEN = "."  # stands for the three dots, axes of any number
_TERM = re.compile(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*")


@dataclass(frozen=True)
class ProductAxes:
    """Holds the letters of an Einsum's operand, weight and output, and what each letter is.

    Letters of an axis that the weight has with size 1 are not the weight's.
    """

    operand: str
    output: str
    groups: str
    rows: str
    columns: str


def read_equation(node: onnx.NodeProto) -> tuple[list[str], str] | None:
    """Return the letters of an Einsum's operands, and of its output; None if it cannot be read."""
    equation = attributes(node).get("equation", "")
    assert isinstance(equation, str)
    left, arrow, output = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if any(_TERM.fullmatch(term) is None for term in (*terms, output)):
        return None
    terms = [term.replace("...", OPEN) for term in terms]
    if not arrow:  # what occurs once, in the order of letters, behind the open axes
        letters = "".join(terms).replace(OPEN, "")
        once = sorted(letter for letter in set(letters) if letters.count(letter) == 1)
        output = (OPEN if any(OPEN in term for term in terms) else "") + "".join(once)
    return terms, output.replace("...", OPEN)


def match_einsum(place: NodePlace, root: Root, constant_right: bool) -> Match | Refusal:
    """Return how an Einsum of two operands multiplies by the one that is constant, or why not."""
    equation, constant = read_equation(place.node), int(constant_right)
    if equation is None or len(equation[0]) != 2:
        return Refusal(RefusalKind.UNSUPPORTED, "its equation does not fit two operands")
    terms, output = equation
    weight = terms[constant]
    axes = _axes(terms[1 - constant], weight, output, root.shape)
    if isinstance(axes, str):
        return Refusal(RefusalKind.UNSUPPORTED, axes)
    sizes = dict(zip(weight, root.shape, strict=True))
    contraction = _contraction(axes, sizes)
    return Match(_use(place, axes, contraction, sizes, constant), root, _layout(weight, axes, root))


def _axes(operand: str, weight: str, output: str, shape: tuple[int, ...]) -> ProductAxes | str:
    """Tell the axes of a product apart, or say why it is no plain one."""
    if OPEN in weight:
        return "an Einsum whose weight has axes of any number ('...')"
    if len(weight) != len(shape):
        return f"its equation does not fit a weight of {len(shape)} axes"
    for name, term in (("operand", operand), ("weight", weight)):
        if len(set(term)) < len(term):
            return f"an Einsum that takes a diagonal of its {name}"
    if OPEN in operand and OPEN not in output:
        return "an Einsum that sums over axes of any number ('...')"
    single = {letter for letter, size in zip(weight, shape, strict=True) if size == 1}
    owned = [letter for letter in weight if letter not in single & set(operand)]
    if lonely := [letter for letter in owned if letter not in operand + output]:
        return f"an Einsum that sums over {lonely[0]!r}, an axis of the weight alone"
    columns = "".join(a for a in operand if a in owned and a not in output)
    if not columns:
        return "an Einsum that sums over no axis of its weight: it only scales"
    return ProductAxes(
        operand,
        output,
        groups="".join(a for a in output if a in owned and a in operand),
        rows="".join(a for a in output if a in owned and a not in operand),
        columns=columns,
    )


def _contraction(axes: ProductAxes, sizes: dict[str, int]) -> Contraction | None:
    """Return how observations are laid out; None where the last axis alone holds the columns."""
    named = axes.operand.replace(OPEN, "")
    summed = "".join(a for a in named if a not in axes.output + axes.columns)
    if not axes.groups and not summed and axes.columns == axes.operand[-1:]:
        return None

    def places(letters: str) -> tuple[int, ...]:
        return tuple(named.index(letter) for letter in letters)

    return Contraction(
        count=len(named),
        open_axes=axes.operand.index(OPEN) if OPEN in axes.operand else None,
        groups=places(axes.groups),
        columns=places(axes.columns),
        summed=places(summed),
        group_sizes=tuple(sizes[letter] for letter in axes.groups),
        column_sizes=tuple(sizes[letter] for letter in axes.columns),
    )


def _layout(weight: str, axes: ProductAxes, root: Root) -> WeightLayout:
    sizes = dict(zip(weight, root.shape, strict=True))
    order = axes.groups + axes.rows + axes.columns
    order += "".join(letter for letter in weight if letter not in order)  # of size 1
    groups, rows, columns = (
        math.prod(sizes[letter] for letter in letters)
        for letters in (axes.groups, axes.rows, axes.columns)
    )
    permutation = tuple(weight.index(letter) for letter in order)
    return WeightLayout(root.shape, root.shape, permutation, groups, rows, columns)


def _use(
    place: NodePlace,
    axes: ProductAxes,
    contraction: Contraction | None,
    sizes: dict[str, int],
    constant: int,
) -> Use:
    node = place.node
    outputs = axes.groups + axes.rows
    behind = axes.output.rpartition(OPEN)[2]  # axes that can be counted from the last one
    bias = None
    if set(outputs) <= set(behind):
        wide = (behind.index(letter) for letter in outputs if sizes[letter] > 1)
        first = min(wide, default=len(behind))
        shape = tuple(sizes[a] if a in outputs else 1 for a in behind[first:])
        order = _order(outputs, behind, sizes)
        bias = find_add(place.model, place.scope, node, shape, order)
    groups = math.prod(sizes[letter] for letter in axes.groups)
    return replace(place.use(node.input[1 - constant], groups), contraction=contraction, bias=bias)


def _order(outputs: str, behind: str, sizes: dict[str, int]) -> BiasOrder | None:
    """Return how groups and rows are put into the output's order; None where they are in it."""
    wanted: Sequence[str] = [letter for letter in behind if letter in outputs]
    if "".join(wanted) == outputs:
        return None
    axes = tuple(outputs.index(letter) for letter in wanted)
    return BiasOrder(tuple(sizes[letter] for letter in outputs), axes)
