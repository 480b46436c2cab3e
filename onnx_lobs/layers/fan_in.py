"""Counts how many inputs the products of a stage sum up: what its outputs take to be made again."""

from __future__ import annotations

import math

from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model
from onnx_lobs.graph.run.stages import Stage
from onnx_lobs.layers.operators import OPERATORS

ELEMENTWISE = (
    "Add", "BatchNormalization", "Clip", "Div", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
    "Max", "Min", "Mul", "Neg", "PRelu", "Relu", "Sigmoid", "Sub", "Tanh",
)  # fmt: skip


def inputs_per_output(model: Model, stage: Stage) -> float:
    """Return how many inputs the products of a stage sum up for an output, at the most.

    Infinite where the stage does more than multiply by weights and work element by element.
    """
    most = 0.0
    for index in stage.nodes:
        node = model.main.graph.node[index]
        if node.op_type in ELEMENTWISE and node.domain in DEFAULT_DOMAINS:
            continue
        places = [p for p, name in enumerate(node.input[:2]) if name in model.main.initializers]
        if node.op_type not in OPERATORS or not places:
            return math.inf
        shape = tuple(model.main.initializers[node.input[places[0]]].dims)
        most = max(most, OPERATORS[node.op_type].fan_in(node, places[0], shape))
    return most
