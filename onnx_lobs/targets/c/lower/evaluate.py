"""Runs a few nodes of a network alone, in onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnx_lobs.arrays import Array
from onnx_lobs.errors import InferenceError, ModelError
from onnx_lobs.graph.run.session import Session
from onnx_lobs.targets.c.lower.context import refusal
from onnx_lobs.targets.c.network import Network


def run_nodes(
    network: Network,
    nodes: Sequence[onnx.NodeProto],
    source: str,
    values: Array,
    constants: Mapping[str, Array],
) -> Array:
    """Return the first output of the last node, in float32.

    Parameters
    ----------
    network
        Gives the versions of operators.
    nodes
        In order; all that they read is `source` or among the constants.
    source, values
        What is computed from.
    constants
        By name.

    Raises
    ------
    ModelError
        onnxruntime has no kernel for a node, or fails.
    """
    last = nodes[-1]
    inputs = [helper.make_tensor_value_info(source, TensorProto.FLOAT, values.shape)]
    outputs = [helper.make_tensor_value_info(last.output[0], TensorProto.FLOAT, None)]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(list(nodes), "nodes", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=network.proto.opset_import)
    model.ir_version = network.proto.ir_version
    try:
        (found,) = Session(model).run({source: values.astype(np.float32)}).values()
    except (ModelError, InferenceError) as error:
        raise refusal(last, f"it cannot be evaluated: {error}") from error
    return found
