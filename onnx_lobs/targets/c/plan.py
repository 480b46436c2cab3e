"""Places the values of a program in one buffer: those that never live at once may overlap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx_lobs.targets.c.program import Program, Value


@dataclass(frozen=True)
class BufferPlan:
    """Where values lie.

    Parameters
    ----------
    offsets
        By the name of every value that is neither an input nor an output, in elements.
    size
        Of the buffer, in elements.
    """

    offsets: Mapping[str, int]
    size: int


def plan_buffers(program: Program) -> BufferPlan:
    """Return places such that values that live at the same time do not overlap.

    A value lives from the step that makes it to the last that reads it. The largest is placed
    first, each at the lowest place that is free for its whole life.
    """
    outside = {program.root(value.name) for value in (*program.inputs, *program.outputs)}
    lives: dict[str, tuple[int, int]] = {}
    values: dict[str, Value] = {}
    for number, step in enumerate(program.steps):
        for value in step.inputs:
            root = program.root(value.name)
            if root in lives:
                lives[root] = (lives[root][0], number)
        for value in step.outputs:
            if value.name not in outside:
                lives[value.name] = (number, number)
                values[value.name] = value
    offsets: dict[str, int] = {}
    for name in sorted(lives, key=lambda name: (-values[name].size, lives[name])):
        first, last = lives[name]
        near = sorted(
            (offsets[other], offsets[other] + values[other].size)
            for other in offsets
            if lives[other][0] <= last and first <= lives[other][1]
        )
        at = 0
        for start, end in near:
            if at + values[name].size <= start:
                break
            at = max(at, end)
        offsets[name] = at
    size = max((offsets[name] + values[name].size for name in offsets), default=0)
    return BufferPlan(offsets, size)
