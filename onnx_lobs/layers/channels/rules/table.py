"""Holds the table of rules: what each operator couples, and what changes in it afterwards.

To add an operator, write what it joins in the file of its family, add a line here, and a case to
``tests/layers/channels/rules/test_rules.py``, which removes channels through every line of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from onnx_lobs.layers.channels.node_view import NodeEdit, NodeView
from onnx_lobs.layers.channels.rules import convolution, norms, products, selecting, shaping
from onnx_lobs.layers.channels.rules.attention import edit_attention, join_attention
from onnx_lobs.layers.channels.rules.einsum import join_einsum
from onnx_lobs.layers.channels.rules.elementwise import ELEMENTWISE, join_elementwise
from onnx_lobs.layers.channels.rules.quantised import join_quantised


def leave(edit: NodeEdit) -> None:
    """Change nothing: what the node does follows from its tensors."""


@dataclass(frozen=True)
class CouplingRule:
    """What an operator couples.

    Parameters
    ----------
    join
        Says which indices of its tensors go together. Axes that it says nothing of are pinned.
    edit
        Changes a node whose tensors have lost indices.
    rest
        Why the other axes are pinned, behind the node's name.
    """

    join: Callable[[NodeView], None]
    edit: Callable[[NodeEdit], None] = leave
    rest: str = "has no rule for this axis"


_SPACE = convolution.SPACE
_IMAGES = CouplingRule(convolution.join_images, rest=_SPACE)
_RESIZE = CouplingRule(convolution.join_images, convolution.edit_resize, _SPACE)
_DYNAMIC = "computes its shape"
_RESHAPE = CouplingRule(shaping.join_reshape, shaping.edit_reshape, _DYNAMIC)
_FLATTEN = CouplingRule(shaping.join_reshape)
_REDUCTION = CouplingRule(norms.join_reduction, rest="reduces it")
_SOFTMAX = CouplingRule(norms.join_softmax)

RULES: Mapping[str, CouplingRule] = MappingProxyType(
    {
        **dict.fromkeys(ELEMENTWISE, CouplingRule(join_elementwise)),
        "Attention": CouplingRule(join_attention, edit_attention, "multiplies along it"),
        "AveragePool": _IMAGES,
        "BatchNormalization": CouplingRule(norms.join_batch_norm),
        "Concat": CouplingRule(selecting.join_concat),
        "ConstantOfShape": CouplingRule(selecting.join_filled, selecting.edit_filled, _DYNAMIC),
        "Conv": CouplingRule(convolution.join_conv, convolution.edit_conv, _SPACE),
        "ConvTranspose": CouplingRule(convolution.join_transposed, convolution.edit_conv, _SPACE),
        "DepthToSpace": CouplingRule(convolution.join_depth_to_space, rest=_SPACE),
        "DequantizeLinear": CouplingRule(join_quantised),
        "Einsum": CouplingRule(join_einsum),
        "Expand": CouplingRule(selecting.join_expand, rest=_DYNAMIC),
        "Flatten": _FLATTEN,
        "Gather": CouplingRule(selecting.join_gather, selecting.edit_gather),
        "Gemm": CouplingRule(products.join_gemm),
        "GlobalAveragePool": _IMAGES,
        "GlobalLpPool": _IMAGES,
        "GlobalMaxPool": _IMAGES,
        "GroupNormalization": CouplingRule(
            norms.join_group_norm, norms.edit_group_norm, norms.OVER
        ),
        "InstanceNormalization": CouplingRule(norms.join_instance_norm, rest=norms.OVER),
        "LayerNormalization": CouplingRule(norms.join_layer_norm),
        "LogSoftmax": _SOFTMAX,
        "LpPool": _IMAGES,
        "MatMul": CouplingRule(products.join_matmul),
        "MaxPool": _IMAGES,
        "Pad": CouplingRule(convolution.join_pad, rest="pads it"),
        "QuantizeLinear": CouplingRule(join_quantised),
        "ReduceL1": _REDUCTION,
        "ReduceL2": _REDUCTION,
        "ReduceLogSum": _REDUCTION,
        "ReduceLogSumExp": _REDUCTION,
        "ReduceMax": _REDUCTION,
        "ReduceMean": _REDUCTION,
        "ReduceMin": _REDUCTION,
        "ReduceProd": _REDUCTION,
        "ReduceSum": _REDUCTION,
        "ReduceSumSquare": _REDUCTION,
        "Reshape": _RESHAPE,
        "Resize": _RESIZE,
        "Shape": CouplingRule(selecting.join_shape),
        "Slice": CouplingRule(selecting.join_slice, selecting.edit_slice, "cuts it as data say"),
        "Softmax": _SOFTMAX,
        "SpaceToDepth": CouplingRule(convolution.join_space_to_depth, rest=_SPACE),
        "Split": CouplingRule(selecting.join_split, selecting.edit_split),
        "Squeeze": _FLATTEN,
        "Tile": CouplingRule(selecting.join_tile, rest="repeats it"),
        "Transpose": CouplingRule(shaping.join_transpose),
        "Unsqueeze": _FLATTEN,
    }
)
