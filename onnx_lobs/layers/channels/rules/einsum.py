"""Couples the axes of an Einsum: those of one letter are one."""

from __future__ import annotations

import math

import numpy as np

from onnx_lobs.arrays import IntArray
from onnx_lobs.layers.channels.axes import AxisPlace
from onnx_lobs.layers.channels.node_view import NodeView
from onnx_lobs.layers.einsum import OPEN, read_equation

WHOLE = "sums over it and other axes, and these go as wholes"


def join_einsum(view: NodeView) -> None:
    """Join axes of one letter, and say what a product of two operands sums over.

    Of several letters that it sums over, the first of its input keeps its indices apart. Letters
    that one operand alone has, and diagonals, stay.
    """
    equation = read_equation(view.node)
    names = [*view.node.input]
    if equation is None or len(equation[0]) != len(names):
        return
    terms, output = equation
    everything = [*zip(names, terms, strict=True), (view.output, output)]
    letters = [_letters(term, len(view.shape(name))) for name, term in everything]
    places: dict[str, list[AxisPlace]] = {}
    for (name, _), each in zip(everything, letters, strict=True):
        for axis, letter in enumerate(each):
            if view.shape(name)[axis] > 1:
                places.setdefault(letter, []).append((name, axis))
    for found in places.values():
        for place in found[1:]:
            view.join(view.ids(*found[0]), view.ids(*place))
    operands = letters[:-1]
    for letter, found in places.items():
        is_diagonal = any(each.count(letter) > 1 for each in operands)
        is_alone = letter not in letters[-1] and len(found) == 1
        if is_diagonal or is_alone:
            view.pin_axis(*found[0], "sums over it alone")
    summed = [a for a in places if a not in letters[-1] and len(places[a]) > 1]
    if len(operands) == 2:
        _read(view, operands, [a for a in _of_input(view, operands) if a in summed], places)
    else:
        for letter in summed:
            view.pin_axis(*places[letter][0], "multiplies several values along it")


def _letters(term: str, rank: int) -> list[str]:
    """Return a letter for each axis; open axes are numbered from the last one."""
    head, dots, tail = term.partition(OPEN)
    n_open = rank - len(head) - len(tail)
    return [*head, *(f"{OPEN}{n_open - i}" for i in range(n_open if dots else 0)), *tail]


def _of_input(view: NodeView, operands: list[list[str]]) -> list[str]:
    """Return the letters of the operand that is no weight, in the order of a layer's columns."""
    computed = view.observed.model.computed
    is_weight = (0, view.node.input[1]) in computed
    return operands[0] if is_weight else operands[1]


def _read(
    view: NodeView, operands: list[list[str]], summed: list[str], places: dict[str, list[AxisPlace]]
) -> None:
    """Say that two operands are multiplied along `summed`, and count the multiplications."""
    shapes = {a: view.shape(name)[axis] for a in places for name, axis in places[a][:1]}
    if summed:
        sizes = [shapes[a] for a in summed]
        first: IntArray = view.ids(*places[summed[0]][0])
        columns = np.broadcast_to(first.reshape(-1, *(1,) * (len(sizes) - 1)), sizes)
        view.read(columns.reshape(1, -1))
        for letter in summed[1:]:
            view.pin_axis(*places[letter][0], WHOLE)
    factors = [view.ids(*found[0]) for found in places.values()]
    view.count(math.prod(shapes.values()), *factors)
