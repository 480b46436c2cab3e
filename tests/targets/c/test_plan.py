"""Buffers: values that live at once never share a place, and others do where they can."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from build_onnx import normal
from onnx import helper
from targets_c import exported, network, node, sparse

from onnx_lobs.targets.c.plan import plan_buffers
from onnx_lobs.targets.c.program import Program


def chain(n: int) -> Program:
    """A chain of products of one size."""
    nodes = [node("MatMul", [f"v{i}" if i else "x", f"w{i}"], f"v{i + 1}") for i in range(n)]
    nodes += [node("Identity", [f"v{n}"])]
    weights = {f"w{i}": sparse(normal(i, 10, 10)) for i in range(n)}
    return exported(network(nodes, (1, 10), weights), "fp32").program


def ladder(n: int) -> Program:
    """Every value is read again at the end."""
    nodes = [node("Tanh", [f"v{i}" if i else "x"], f"v{i + 1}") for i in range(n)]
    nodes += [node("Concat", [f"v{i + 1}" for i in range(n)], axis=1)]
    return exported(network(nodes, (1, 7)), "fp32").program


def two_outputs() -> Program:
    """One step makes two values: one is read at once, the other at the end."""
    cell = helper.make_node("LSTM", ["x", "w", "r"], ["a", "", "c"], name="n", hidden_size=4)
    nodes = [cell, node("Tanh", ["a"], "b"), node("Exp", ["b"], "d"), node("Tanh", ["c"], "e")]
    nodes += [node("Mul", ["d", "e"])]
    weights = {"w": normal(1, 1, 16, 7), "r": normal(2, 1, 16, 4)}
    return exported(network(nodes, (5, 1, 7), weights), "fp32").program


def lives(program: Program) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for number, step in enumerate(program.steps):
        found |= {value.name: (number, number) for value in step.outputs}
        for value in step.inputs:
            root = program.root(value.name)
            if root in found:
                found[root] = (found[root][0], number)
    return found


@pytest.mark.parametrize(
    "program", [chain(6), ladder(5), two_outputs()], ids=["chain", "ladder", "two outputs"]
)
def test_values_that_live_at_once_lie_apart(program: Program) -> None:
    plan, alive = plan_buffers(program), lives(program)
    sizes = {value.name: value.size for step in program.steps for value in step.outputs}
    for one, other in itertools.combinations(plan.offsets, 2):
        meet = alive[one][0] <= alive[other][1] and alive[other][0] <= alive[one][1]
        apart = (
            plan.offsets[one] + sizes[one] <= plan.offsets[other]
            or plan.offsets[other] + sizes[other] <= plan.offsets[one]
        )
        assert apart or not meet
    assert plan.size == max(plan.offsets[name] + sizes[name] for name in plan.offsets)


def test_a_chain_needs_two_places() -> None:
    assert plan_buffers(chain(6)).size == 20


def test_outputs_are_the_callers() -> None:
    program = chain(2)
    assert program.root(program.outputs[0].name) not in plan_buffers(program).offsets


def test_a_program_of_one_step_needs_no_buffer() -> None:
    made = network([node("Relu", ["x"])], (1, 7))
    program = exported(made, "fp32").program
    assert plan_buffers(program).size == 0
    assert np.array_equal(program.compute({"x": normal(1, 1, 7)})["y"] >= 0, np.ones((1, 7), bool))
