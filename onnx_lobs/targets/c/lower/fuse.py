"""Joins nodes before they become steps: a Relu with what it limits, functions of one value.

Fusing changes a network's nodes only; what they compute stays the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.targets.c.lower.context import node_attributes, scalar
from onnx_lobs.targets.c.lower.evaluate import run_nodes
from onnx_lobs.targets.c.network import Network

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization")
ONE_NUMBER = frozenset(
    [
        "Relu",
        "Clip",
        "LeakyRelu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Elu",
        "Selu",
        "Celu",
        "Softplus",
        "Softsign",
        "Mish",
        "Gelu",
        "Erf",
        "Exp",
        "Log",
        "Sqrt",
        "Reciprocal",
        "Neg",
        "Abs",
        "Sign",
        "Floor",
        "Ceil",
        "Round",
        "ThresholdedRelu",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pow",
        "Min",
        "Max",
    ]
)


@dataclass(frozen=True)
class ElementFunction:
    """A value that is a function of one other, element by element, through several nodes.

    Parameters
    ----------
    source, output
        Names of values of one shape.
    nodes
        What lies between, in order.
    """

    source: str
    output: str
    nodes: tuple[onnx.NodeProto, ...]


def fuse_limits(
    network: Network, nodes: list[onnx.NodeProto]
) -> tuple[list[onnx.NodeProto], dict[str, tuple[float, float]]]:
    """Let products write what the only reader behind them, a Relu or a Clip from 0, makes.

    Returns
    -------
    nodes
        Without those Relus and Clips; the products' outputs have their names.
    limits
        Of these outputs.
    """
    kept: list[onnx.NodeProto] = []
    limits: dict[str, tuple[float, float]] = {}
    makers = {node.output[0]: node for node in nodes}
    replaced: dict[str, str] = {}
    for node in nodes:
        maker = makers.get(node.input[0]) if node.input else None
        found = _limits(network, node)
        if (
            found is None
            or maker is None
            or maker.op_type not in PRODUCTS
            or len(network.readers[node.input[0]]) > 1
            or node.input[0] in network.outputs
        ):
            kept.append(node)
        else:
            replaced[node.input[0]] = node.output[0]
            limits[node.output[0]] = found
    return [_renamed(node, replaced) for node in kept], limits


def _renamed(node: onnx.NodeProto, replaced: dict[str, str]) -> onnx.NodeProto:
    if not any(name in replaced for name in node.output):
        return node
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.output[:] = [replaced.get(name, name) for name in node.output]
    return copy


def _limits(network: Network, node: onnx.NodeProto) -> tuple[float, float] | None:
    """Return the range that a Relu, or a Clip from 0 on, lets through; None for other nodes."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    if node.op_type != "Clip":
        return None
    given = node_attributes(node, {"min": -np.inf, "max": np.inf})
    ends = [given["min"], given["max"]]
    for i in (1, 2):
        if len(node.input) > i and node.input[i]:
            if node.input[i] not in network.constants:
                return None
            ends[i - 1] = scalar(network.constants[node.input[i]])
    return (0.0, float(ends[1])) if ends[0] == 0.0 else None


def find_functions(
    network: Network, nodes: list[onnx.NodeProto]
) -> tuple[set[int], list[ElementFunction]]:
    """Find values that are functions of one other value, each number for itself.

    Returns
    -------
    inner
        Numbers of the nodes that these functions replace.
    functions
        One for every such value that another kind of node, or the caller, reads.
    """
    roots: dict[str, str] = {}
    makers: dict[str, int] = {}
    for number, node in enumerate(nodes):
        makers |= dict.fromkeys(node.output, number)
        root = _root(network, node, roots)
        if root is not None:
            roots[node.output[0]] = root
    inner = {makers[name] for name in roots}
    read = {name for i, node in enumerate(nodes) if i not in inner for name in node.input}
    read |= set(network.outputs)
    functions = []
    for name in (name for name in roots if name in read):
        needed, pending = set(), [name]
        while pending:
            at = pending.pop()
            if at in roots and makers[at] not in needed:
                needed.add(makers[at])
                pending += [n for n in nodes[makers[at]].input if n in network.shapes]
        functions.append(
            ElementFunction(roots[name], name, tuple(nodes[i] for i in sorted(needed)))
        )
    return inner, functions


def _root(network: Network, node: onnx.NodeProto, roots: dict[str, str]) -> str | None:
    """Return the value that a node's output is a function of, number by number; None: of none."""
    if node.op_type not in ONE_NUMBER:
        return None
    moving = [name for name in node.input if name and name not in network.constants]
    constants = [network.constants[name] for name in node.input if name in network.constants]
    found = {roots.get(name, name) for name in moving}
    if len(found) != 1 or any(constant.size != 1 for constant in constants):
        return None
    root = found.pop()
    return root if network.shapes.get(root) == network.shapes[node.output[0]] else None


def evaluate_function(network: Network, function: ElementFunction, points: FloatArray) -> Array:
    """Return a function at points, computed by onnxruntime in float32.

    Raises
    ------
    ModelError
        onnxruntime has no kernel for a node.
    """
    names = {name for node in function.nodes for name in node.input if name in network.constants}
    constants = {name: np.asarray(network.constants[name]).reshape(()) for name in sorted(names)}
    return run_nodes(network, function.nodes, function.source, points, constants)
