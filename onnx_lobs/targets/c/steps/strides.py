"""Walks through tensors of different layout at once, in as few nested loops as they allow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Axis = tuple[int, ...]  # size of an axis, then the stride of each tensor along it


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of a tensor without gaps, in elements.

    >>> strides_of((2, 3, 4))
    (12, 4, 1)
    """
    return tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape)))


def broadcast_strides(shape: Sequence[int], to: Sequence[int]) -> tuple[int, ...]:
    """Return the strides with which a tensor is read as if it had another shape.

    >>> broadcast_strides((3, 1), (2, 3, 4))
    (0, 1, 0)
    """
    padded = (1,) * (len(to) - len(shape)) + tuple(shape)
    own = strides_of(padded)
    return tuple(0 if size == 1 else step for size, step in zip(padded, own, strict=True))


def merge(axes: Sequence[Axis]) -> list[Axis]:
    """Join neighbouring axes along which all tensors go on as one; drop those of size 1.

    >>> merge([(2, 12, 12), (3, 4, 4), (4, 1, 1)])
    [(24, 1, 1)]
    """
    merged: list[Axis] = []
    for axis in axes:
        if axis[0] == 1:
            continue
        if merged and all(
            outer == inner * axis[0] for outer, inner in zip(merged[-1][1:], axis[1:], strict=True)
        ):
            merged[-1] = (merged[-1][0] * axis[0], *axis[1:])
        else:
            merged.append(axis)
    return merged or [(1, *(0,) * (len(axes[0]) - 1 if axes else 2))]


def nested_loops(axes: Sequence[Axis], statement: str, offsets: Sequence[str]) -> str:
    """Return C loops around a statement.

    Parameters
    ----------
    axes
        From :func:`merge`, the outermost first.
    statement
        With a placeholder ``{0}``, ``{1}``, ... for the index of each tensor.
    offsets
        What is added to each index.
    """
    lines, indent = [], "    "
    for depth, axis in enumerate(axes):
        lines.append(f"{indent * depth}for (int i{depth} = 0; i{depth} < {axis[0]}; i{depth}++)")
    indices = [
        " + ".join(
            [
                *([offset] if offset != "0" else []),
                *(
                    f"i{depth}" if axis[k + 1] == 1 else f"i{depth} * {axis[k + 1]}"
                    for depth, axis in enumerate(axes)
                    if axis[k + 1] != 0
                ),
            ]
        )
        or "0"
        for k, offset in enumerate(offsets)
    ]
    lines.append(f"{indent * len(axes)}{statement.format(*indices)}")
    return "\n    ".join(lines)
