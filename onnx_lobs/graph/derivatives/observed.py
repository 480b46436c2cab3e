"""Observes the shapes and the fixed values of a graph, in one run on one batch.

Rules of derivatives need shapes, and what a graph computes from shapes alone (the axes of a
Reshape, the ends of a Slice). One run tells both for certain, where shape inference may not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx.helper import tensor_dtype_to_np_dtype as tensor_type

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.graph.model import DEFAULT_DOMAINS, RANDOM, Model, subgraphs
from onnx_lobs.graph.run.session import Session

OF_SHAPES = ("Shape", "Size")
MOST_KEPT = (
    1 << 16
)  # elements of a fixed value: axes and indices have few, weights are not asked for


@dataclass(frozen=True)
class ObservedValues:
    """What one run told of the values of the main graph.

    Parameters
    ----------
    shapes, types
        Shape and element type of each value by name, constants and inputs included.
    fixed
        Values that are the same for all batches of these shapes: made of constants and shapes.
    """

    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, np.dtype[Any]]
    fixed: Mapping[str, Array]


def observe(model: Model, feeds: Feeds, *, provider: str) -> ObservedValues:
    """Run one batch and return what it tells; gradients then hold for batches of its shapes.

    Parameters
    ----------
    model
        Execution copy. Not modified.
    feeds
        A batch by input name. Not modified.
    provider
        Full name of an execution provider.

    Notes
    -----
    Cost: one forward pass that keeps all values; memory: all of them at once.
    """
    graph = model.main.graph
    made = [name for node in graph.node for name in node.output if name]
    shown = [name for name in made if not model.main.is_output(name)]
    session = Session(model.proto, folder=model.folder, provider=provider, light=True, shown=shown)
    seen = {name: v for name, v in session.run(feeds).items() if isinstance(v, np.ndarray)}
    seen |= {name: np.asarray(feeds[name]) for name in session.inputs if name in feeds}
    constants = model.main.initializers
    shapes = {name: tuple(map(int, tensor.dims)) for name, tensor in constants.items()}
    values = {name: model.value(tensor) for name, tensor in constants.items() if _is_small(tensor)}
    types = {name: np.dtype(tensor_type(tensor.data_type)) for name, tensor in constants.items()}
    fixed = _fixed(model)
    return ObservedValues(
        shapes | {name: value.shape for name, value in seen.items()},
        types | {name: value.dtype for name, value in seen.items()},
        values | {name: v for name, v in seen.items() if name in fixed and v.size <= MOST_KEPT},
    )


def _is_small(tensor: Any) -> bool:
    return bool(np.prod(tuple(tensor.dims), dtype=float) <= MOST_KEPT)


def _fixed(model: Model) -> set[str]:
    """Return the values that depend on constants and shapes alone."""
    found = set(model.main.initializers)
    for node in model.main.graph.node:
        is_plain = node.domain in DEFAULT_DOMAINS and node.op_type not in RANDOM
        is_known = node.op_type in OF_SHAPES or all(n in found for n in node.input if n)
        if is_plain and is_known and not any(subgraphs(node)):
            found.update(node.output)
    return found
