"""Says why operators that are not in the table of operators leave their weights as they are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, attributes, is_float, subgraphs
from onnx_lobs.layers.chain import REMEDY_QUANTISED, Root, trace
from onnx_lobs.layers.place import NodePlace
from onnx_lobs.layers.refusal import Refusal, RefusalKind

QUANTISED = Refusal(RefusalKind.QUANTISED, f"quantised: {REMEDY_QUANTISED}")
# of ONNX's own domain; of others, whatever holds weights is listed
NOT_TAKEN = {
    "QLinearConv": QUANTISED,
    "QLinearMatMul": QUANTISED,
    "ConvInteger": QUANTISED,
    "MatMulInteger": QUANTISED,
    "DeformConv": Refusal(
        RefusalKind.UNSUPPORTED, "its inputs are sampled at positions that the network computes"
    ),
}
OPTIMISERS = ("com.microsoft", "com.ms.")  # how their domains begin
# operators of ai.onnx.ml whose coefficients are products' weights
WEIGHT_ATTRIBUTES = ("coefficients",)
LOOK_UPS = ("EmbedLayerNormalization", "GatherBlockQuantized")  # they multiply by nothing


def foreign_refusal(place: NodePlace) -> Refusal | None:
    """Return why a node of another domain is left as it is; None where it holds no weights.

    Weights are constants of two or more axes longer than 1, and what ``ai.onnx.ml`` keeps in
    attributes.
    """
    node = place.node
    whose = f"an operator of {node.domain}"
    if any(attributes(node).get(name) for name in WEIGHT_ATTRIBUTES):
        reason = f"{whose}: its weights are attributes, not tensors"
        return Refusal(RefusalKind.UNSUPPORTED, reason)
    types = list(_weight_types(place))
    if not types or node.op_type in LOOK_UPS:
        return None
    if not any(map(is_float, types)):
        return QUANTISED
    if node.domain.startswith(OPTIMISERS):
        reason = f"{whose}, made by onnxruntime's optimiser; prune the model before it is optimised"
        return Refusal(RefusalKind.FUSED, reason)
    reason = f"{whose}: what it does with its weights is not known"
    return Refusal(RefusalKind.UNSUPPORTED, reason)


def _weight_types(place: NodePlace) -> Iterator[np.dtype[np.generic]]:
    """Yield the types of the constant matrices that a node reads; not of shapes and tables."""
    for name in filter(None, place.node.input):
        root = trace(place.model, place.scope, name)
        if isinstance(root, Root) and sum(size > 1 for size in root.shape) > 1:
            dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(root.tensor.data_type))
            if is_float(dtype) or dtype.itemsize == 1:
                yield dtype


def function_operators(model: Model, function: onnx.FunctionProto) -> set[str]:
    """Return the operators of ONNX's domain in a function, its branches and what it calls."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    pending = list(function.node)
    while pending:
        node = pending.pop()
        pending += [inner for graph in subgraphs(node) for inner in graph.node]
        key = node.domain, node.op_type
        if node.domain in DEFAULT_DOMAINS:
            found.add(node.op_type)
        elif key in model.functions and key not in seen:
            seen.add(key)
            pending += model.functions[key].node
    return found
