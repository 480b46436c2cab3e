"""Derivatives of arithmetic sum over what broadcasting repeats."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import normal
from finite_differences import check_node

Shape = tuple[int, ...]
SHAPES: list[tuple[Shape, Shape]] = [
    ((2, 3, 4), (2, 3, 4)),
    ((2, 3, 4), (3, 1)),
    ((4,), (2, 3, 4)),
    ((2, 1, 4), (1, 3, 1)),
    ((), (2, 3)),
]


@pytest.mark.parametrize(("one", "other"), SHAPES)
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"])
def test_both_sides_get_their_gradient(op: str, one: Shape, other: Shape) -> None:
    x, y = normal(1, *one), normal(2, *other)
    if op == "Div":
        y = np.sign(y) * (np.abs(y) + 0.5)
    check_node(op, [np.asarray(x), np.asarray(y)], (0, 1))


@pytest.mark.parametrize("exponent", [2.0, 0.5, 3.0, -1.0])
def test_power_of_one_exponent(exponent: float) -> None:
    check_node("Pow", [np.abs(normal(3, 2, 5)) + 0.4, np.array(exponent, np.float32)])


def test_power_of_an_exponent_for_each_column() -> None:
    check_node("Pow", [np.abs(normal(3, 2, 3)) + 0.4, np.array([1, 2, 3], np.float32)])


@pytest.mark.parametrize(("one", "other"), [((3, 4), (4,)), ((1, 4), (3, 4))])
def test_where_gives_each_side_what_it_chose(one: Shape, other: Shape) -> None:
    condition = np.random.default_rng(1).random((3, 4)) < 0.5
    check_node("Where", [condition, normal(1, *one), normal(2, *other)], (1, 2))
