"""Finds the tables of vectors that nodes only look rows up in: embeddings."""

from __future__ import annotations

import math
from collections.abc import Collection

import onnx

from onnx_lobs.graph.files.location import is_external
from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, attributes, outer_names

LEAST_NUMBERS = 4096  # of a table: what a smaller one saves is little beside three more nodes
TYPES = frozenset((onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16))


def looks_up_rows(node: onnx.NodeProto, name: str) -> bool:
    """Whether a node looks up rows of a matrix of this name, and reads it in no other way."""
    is_gather = node.op_type == "Gather" and node.domain in DEFAULT_DOMAINS
    is_data = is_gather and [at for at, own in enumerate(node.input) if own == name] == [0]
    return is_data and attributes(node).get("axis", 0) in (0, -2)


def is_read_by_rows(graph: onnx.GraphProto, name: str) -> bool:
    """Whether all that reads a matrix are nodes of its own graph that look up rows."""
    readers = [node for node in graph.node if name in outer_names(node)]
    return bool(readers) and all(looks_up_rows(node, name) for node in readers)


def find_row_tables(model: Model, taken: Collection[str]) -> tuple[str, ...]:
    """Return the names of the matrices of the main graph that are read by rows alone.

    Parameters
    ----------
    model
        Not modified.
    taken
        Names that are none of them. Nor are matrices with external data, inputs, outputs, those
        of fewer than LEAST_NUMBERS numbers, and what is neither float32 nor float16.
    """
    readers = model.main.readers
    return tuple(
        name
        for name, nodes in readers.items()
        if name not in taken
        and _is_matrix(model, name)
        and all(scope is model.main and looks_up_rows(node, name) for scope, node in nodes)
    )


def _is_matrix(model: Model, name: str) -> bool:
    tensor = model.constant(model.main, name)
    if tensor is None or name in model.main.inputs or model.main.is_output(name):
        return False
    dims: Collection[int] = tensor.dims
    is_large = len(dims) == 2 and math.prod(dims) >= LEAST_NUMBERS
    return is_large and tensor.data_type in TYPES and not is_external(tensor)
