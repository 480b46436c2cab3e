"""Lists the operators that have C code, and lowers a network node by node."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx

from onnx_lobs.graph.model import DEFAULT_DOMAINS
from onnx_lobs.targets.c.lower.context import Lowering, refusal
from onnx_lobs.targets.c.lower.elements import (
    lower_function,
    lower_lookup,
    lower_product,
    lower_sum,
)
from onnx_lobs.targets.c.lower.fuse import ONE_NUMBER, ElementFunction, find_functions, fuse_limits
from onnx_lobs.targets.c.lower.layout import (
    copy_to_output,
    lower_concat,
    lower_depth_to_space,
    lower_expand,
    lower_gather,
    lower_pad,
    lower_slice,
    lower_split,
    lower_transpose,
)
from onnx_lobs.targets.c.lower.pooling import (
    lower_global,
    lower_pool,
    lower_reduce_mean,
    lower_softmax,
)
from onnx_lobs.targets.c.lower.products import (
    lower_conv,
    lower_conv_transpose,
    lower_gemm,
    lower_matmul,
    lower_normalisation,
)
from onnx_lobs.targets.c.lower.recurrent import lower_recurrent
from onnx_lobs.targets.c.lower.taken import lower_resize
from onnx_lobs.targets.c.lower.views import (
    MOVING,
    check_element_type,
    lower_cast,
    lower_dropout,
    lower_view,
)
from onnx_lobs.targets.c.network import RECURRENT, Network
from onnx_lobs.targets.c.program import Program, Value
from onnx_lobs.targets.c.ranges import Ranges

Rule = Callable[[Lowering, onnx.NodeProto], None]
RULES: Mapping[str, Rule] = {
    "Conv": lower_conv,
    "ConvTranspose": lower_conv_transpose,
    "Gemm": lower_gemm,
    "MatMul": lower_matmul,
    "BatchNormalization": lower_normalisation,
    **dict.fromkeys(RECURRENT, lower_recurrent),
    **dict.fromkeys(ONE_NUMBER, lower_function),
    "Add": lower_sum,
    "Sub": lower_sum,
    "Sum": lower_sum,
    "Mul": lower_product,
    "Div": lower_product,
    "MaxPool": lower_pool,
    "AveragePool": lower_pool,
    "GlobalAveragePool": lower_global,
    "GlobalMaxPool": lower_global,
    "ReduceMean": lower_reduce_mean,
    "Softmax": lower_softmax,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"), lower_view),
    "Dropout": lower_dropout,
    "Cast": lower_cast,
    "Transpose": lower_transpose,
    "Slice": lower_slice,
    "Split": lower_split,
    "Gather": lower_gather,
    "Expand": lower_expand,
    "DepthToSpace": lower_depth_to_space,
    "SpaceToDepth": lower_depth_to_space,
    "Resize": lower_resize,
    "Upsample": lower_resize,
    "Pad": lower_pad,
    "Concat": lower_concat,
}

_QUANTISED = dict.fromkeys(
    ("QuantizeLinear", "DynamicQuantizeLinear", "DequantizeLinear"),
    "belongs to a model that computes in integers; give the float one, which --values int8 rounds",
)
# outputs with their input's grid, or one of their own
_NOT_JOINED = frozenset((*MOVING, "Softmax", *RECURRENT))


def lower(network: Network, ranges: Ranges | None, optimise: str) -> Program:
    """Return the program of a network.

    Parameters
    ----------
    network
        Of one sample.
    ranges
        Of all floating values: the program computes in 8-bit integers. None: in float32.
    optimise
        ``size`` or ``speed``: how weights are stored.

    Raises
    ------
    ModelError
        A node has no rule, or a form that the rule does not know; it is named.
    DataError
        A range is empty or not finite.
    """
    nodes, limits = fuse_limits(network, network.nodes)
    made = Lowering(network, ranges, optimise, limits)
    _join_ranges(made, nodes)
    inner, functions = find_functions(network, nodes) if made.is_integer else (set(), [])
    by_place = _functions_by_place(nodes, functions)
    for number, node in enumerate(nodes):
        if number not in inner:
            if node.domain not in DEFAULT_DOMAINS or node.op_type not in RULES:
                domain = f" of {node.domain}" if node.domain not in DEFAULT_DOMAINS else ""
                why = _QUANTISED.get(node.op_type, "is not among those written")
                raise refusal(node, f"the operator{domain} {why}")
            check_element_type(made, node)
            RULES[node.op_type](made, node)
        for function in by_place.get(number, ()):
            lower_lookup(made, function)
    inputs = tuple(made.value(name) for name in network.inputs)
    return Program(inputs, _outputs(made), tuple(made.steps), made.views)


def _functions_by_place(
    nodes: list[onnx.NodeProto], functions: list[ElementFunction]
) -> dict[int, list[ElementFunction]]:
    """Return each function by the number of its last node, behind which its source is known."""
    places = {name: number for number, node in enumerate(nodes) for name in node.output}
    found: dict[int, list[ElementFunction]] = {}
    for function in functions:
        found.setdefault(places[function.output], []).append(function)
    return found


def _join_ranges(made: Lowering, nodes: list[onnx.NodeProto]) -> None:
    """Give what only a Concat reads the Concat's own grid, so that nothing is rounded twice."""
    if made.ranges is None:
        return
    makers = {name: node for node in nodes for name in node.output}
    for node in nodes:
        for name in node.input if node.op_type == "Concat" else ():
            maker = makers.get(name)
            free = maker is not None and maker.op_type not in _NOT_JOINED
            if free and len(made.network.readers[name]) == 1:
                made.share_grid(name, node.output[0])


def _outputs(made: Lowering) -> tuple[Value, ...]:
    """Return the outputs, each with elements of its own that a step makes; copies where needed."""
    found: list[Value] = []
    free = {value.name for step in made.steps for value in step.outputs}
    for name in made.network.outputs:
        root = name
        while root in made.views:
            root = made.views[root]
        if root in free:
            free.discard(root)
            found.append(made.value(name))
        else:
            found.append(copy_to_output(made, f"{name} (copy)", name, made.shape(name)))
    return tuple(found)
