"""How far each operator can stretch a difference between its inputs, in the Euclidean norm.

A rule returns a step from the errors of a node's inputs to that of its output, or the reason
why there is none. Steps may use figures of both networks on the batch at hand (largest
activations, smallest deviations), so that a bound made of them is a certificate for these data.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx

from onnx_lobs.evaluation.bound.nonlinear import (
    divide,
    exponential,
    log,
    multiply,
    normalise,
    power,
    reciprocal,
    root,
    subtract,
)
from onnx_lobs.evaluation.bound.norms import window_overlap
from onnx_lobs.evaluation.bound.products import gemm_of_two, matmul_of_two, product
from onnx_lobs.evaluation.bound.site import BoundSite, Step, capped, total
from onnx_lobs.graph.model import DEFAULT_DOMAINS, is_float

Rule = Callable[[BoundSite], Step | str]

SILU = 1.0998394  # largest slope of x sigmoid(x), at x = 2.3994
GELU = 1.1289042  # of x Phi(x), at x = sqrt(2)
GELU_TANH = 1.1289907  # of its form with tanh, at x = 1.4135
MISH = 1.0885013  # of x tanh(log(1 + e^x)), at x = 1.4906
SLOPES: dict[str, float] = {
    "Abs": 1, "Atan": 1, "Celu": 1, "Cos": 1, "Dropout": 1, "Erf": 2 / math.sqrt(math.pi),
    "HardSwish": 1.5, "Identity": 1, "Mish": MISH, "Neg": 1, "Relu": 1, "Sigmoid": 0.25, "Sin": 1,
    "Softplus": 1, "Softsign": 1, "Tanh": 1,
}  # fmt: skip
"""largest slope of functions of one element that need no attribute"""
RANGES = {
    "Atan": math.pi, "Cos": 2, "Erf": 2, "HardSigmoid": 1, "Sigmoid": 1, "Sin": 2, "Softsign": 2,
    "Tanh": 2,
}  # fmt: skip
"""how far apart two outputs can be at all"""
MOVES = (
    "CenterCropPad", "DepthToSpace", "Flatten", "Reshape", "Slice", "SpaceToDepth", "Split",
    "Squeeze", "Transpose", "Trilu", "Unsqueeze",
)  # fmt: skip
"""operators that move elements about without repeating them"""
EVEN = (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"),
        ("half_pixel", "round_prefer_ceil"))  # fmt: skip
"""places and roundings of nearest neighbours that at whole scales copy all elements alike"""
SAME_OUTPUTS = ("Split",)
"""operators whose further outputs are bounded as the first is"""


def respond(site: BoundSite) -> Step | str:
    """Return how the error of a unit's output follows from those of its inputs, or why not."""
    node = site.node
    if node.domain not in DEFAULT_DOMAINS:
        return f"{node.op_type} of the domain {node.domain!r} has no rule"
    if len(site.unit.nodes) > 1:
        return product(site)
    moving = [site.input_shape(i) for i in range(len(node.input)) if site.moves(i)]
    if moving and all(0 in shape for shape in moving):
        return lambda figures, errors: 0.0
    rule = RULES.get(node.op_type)
    return f"{node.op_type} has no rule" if rule is None else rule(site)


def _slope(site: BoundSite) -> Step | str:
    op = site.node.op_type
    step = total(SLOPES[op] if op in SLOPES else _attribute_slope(site))
    if op not in RANGES:
        return step
    return capped(step, RANGES[op] * math.sqrt(math.prod(site.shape)))


def _attribute_slope(site: BoundSite) -> float:
    """Return the largest slope of a function of one element with attributes."""
    op = site.node.op_type
    if op == "Gelu":
        return GELU_TANH if site.attribute("approximate", "none") == "tanh" else GELU
    if op == "Swish":
        return SILU  # alpha only stretches the axis
    if op == "HardSigmoid":
        return abs(float(site.attribute("alpha", 0.2)))
    if op == "Selu":
        alpha, gamma = site.attribute("alpha", 1.6732632), site.attribute("gamma", 1.0507010)
        return abs(float(gamma)) * max(1.0, abs(float(alpha)))
    return max(1.0, abs(float(site.attribute("alpha", {"LeakyRelu": 0.01}.get(op, 1.0)))))


def _prelu(site: BoundSite) -> Step | str:
    slope = site.constant(1)
    if slope is None:
        return "PRelu with a slope that is no constant has no rule"
    return total(max(1.0, float(np.abs(slope.astype(np.float64)).max(initial=0.0))))


def _clip(site: BoundSite) -> Step | str:
    if site.moves(1) or site.moves(2):
        return "Clip with limits that the network computes has no rule"
    low, high = (site.constant(i) for i in (1, 2))
    low = site.attribute("min", None) if low is None else low
    high = site.attribute("max", None) if high is None else high
    if low is None or high is None:
        return total(1.0)
    width = max(float(np.asarray(high, np.float64) - np.asarray(low, np.float64)), 0.0)
    return capped(total(1.0), width * math.sqrt(math.prod(site.shape)))


def _move(site: BoundSite) -> Step | str:
    if any(site.moves(i) for i in range(1, len(site.node.input))):
        return f"{site.node.op_type} with arguments that the network computes has no rule"
    return total(1.0)


def _cast(site: BoundSite) -> Step | str:
    kind = onnx.helper.tensor_dtype_to_np_dtype(site.attribute("to", 0))
    return total(1.0) if is_float(np.dtype(kind)) else f"Cast to {np.dtype(kind).name} is no float"


def _add(site: BoundSite) -> Step | str:
    return total(*(math.sqrt(site.repeats(i)) for i in range(len(site.node.input))))


def _mean(site: BoundSite) -> Step | str:
    n = len(site.node.input)
    return total(*(math.sqrt(site.repeats(i)) / n for i in range(n)))


def _apart(site: BoundSite) -> Step | str:
    """Of inputs whose differences meet in no output element, the squares add."""
    first = 1 if site.node.op_type == "Where" else 0
    if first and site.moves(0):
        return "Where with a condition that the network computes has no rule"
    squares = [site.repeats(i) if i >= first else 0.0 for i in range(len(site.node.input))]
    if site.node.op_type == "Concat":
        squares = [1.0] * len(squares)
    return lambda figures, errors: math.sqrt(
        sum(g * e * e for g, e in zip(squares, errors, strict=True) if e)
    )


def _expand(site: BoundSite) -> Step | str:
    if site.moves(1):
        return f"{site.node.op_type} to a size that the network computes has no rule"
    return total(math.sqrt(site.repeats(0)))


def _pad(site: BoundSite) -> Step | str:
    if any(site.moves(i) for i in range(1, len(site.node.input))):
        return "Pad by a size or value that the network computes has no rule"
    mode = site.attribute("mode", "constant")
    return total(1.0) if mode == "constant" else f"Pad with mode {mode!r} has no rule"


def _gather(site: BoundSite) -> Step | str:
    indices = site.constant(1)
    if indices is None:
        if site.moves(1):
            return "Gather at indices that the network computes has no rule"
        most = float(math.prod(site.input_shape(1)))  # all may be the same
    else:
        size = site.input_shape(0)[site.attribute("axis", 0)]
        most = float(np.unique(indices % size, return_counts=True)[1].max(initial=0))
    return total(math.sqrt(most))


def _reduce(site: BoundSite) -> Step | str:
    n = math.prod(site.input_shape(0)) / max(math.prod(site.shape), 1)
    gains = {
        "ReduceSum": math.sqrt(n), "ReduceL1": math.sqrt(n), "ReduceMean": 1 / math.sqrt(n),
        "GlobalAveragePool": 1 / math.sqrt(n),
    }  # fmt: skip
    return total(gains.get(site.node.op_type, 1.0))


def _pool(site: BoundSite) -> Step | str:
    kernel = site.integers("kernel_shape", ())
    ones = (1,) * len(kernel)
    overlap = window_overlap(
        kernel, site.integers("strides", ones), site.integers("dilations", ones)
    )
    gain = math.sqrt(overlap)
    if site.node.op_type == "AveragePool":
        padded = any(site.integers("pads", (0,))) or site.attribute("ceil_mode", 0)
        padded = padded or site.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
        # a window at the border may hold a single element, with weight 1
        gain /= 1.0 if padded else math.sqrt(math.prod(kernel))
    return total(gain)


def _softmax(site: BoundSite) -> Step | str:
    shape = site.shape
    old = site.pair.pruned.opset < 13
    axis = site.attribute("axis", 1 if old else -1) % max(len(shape), 1)
    n = math.prod(shape[axis:]) if old else shape[axis]
    if site.node.op_type == "LogSoftmax":
        return total(math.sqrt(n))  # the norm of I - 1 p^T, a projection along 1
    rows = math.prod(shape) / max(n, 1)
    return capped(total(0.5), math.sqrt(2 * rows))


def _batch_norm(site: BoundSite) -> Step | str:
    if site.attribute("training_mode", 0):
        return "BatchNormalization in training mode has no rule"
    if any(site.constant(i) is None for i in range(1, 5)):
        return "BatchNormalization with statistics that are no constants has no rule"
    return product(site)


def _multiplied(site: BoundSite) -> Step | str:
    op = site.node.op_type
    if site.unit.source is not None:
        return product(site)
    if op in ("Conv", "ConvTranspose"):
        return f"{op} with a kernel that the network computes has no rule"
    return gemm_of_two(site) if op == "Gemm" else matmul_of_two(site)


def _resize(site: BoundSite) -> Step | str:
    if any(site.moves(i) for i in range(1, len(site.node.input))):
        return f"{site.node.op_type} to a size that the network computes has no rule"
    mode = site.attribute("mode", "nearest")
    place = site.attribute("coordinate_transformation_mode", "half_pixel")
    if mode != "nearest" or place == "tf_crop_and_resize":
        return f"{site.node.op_type} with mode {mode!r} has no rule"
    rounding = site.attribute("nearest_mode", "round_prefer_floor")
    even = site.node.op_type == "Upsample" or (place, rounding) in EVEN
    even &= _has_whole_scales(site)
    pairs = zip(site.input_shape(0), site.shape, strict=True)
    return total(math.sqrt(math.prod(_copies(old, new, even) for old, new in pairs)))


def _has_whole_scales(site: BoundSite) -> bool:
    """Whether the scales are whole numbers, or sizes are given, which decide them."""
    if site.has(3):
        return True
    given = site.attribute("scales", None)
    last = len(site.node.input) - 1  # of Upsample and the first Resize the second input
    scales = site.constant(last) if given is None else np.asarray(given)
    return scales is not None and bool((scales == np.rint(scales)).all())


def _copies(old: int, new: int, even: bool) -> int:
    """Return the most copies of one element that nearest neighbours make along an axis.

    Neighbours whose rounding falls unevenly stand within two steps of the element.
    """
    if old == new:
        return 1
    if even and new % old == 0:
        return new // old
    return min(new, math.ceil(2 * max(new / old, (new - 1) / max(old - 1, 1))) + 1)


RULES: dict[str, Rule] = {
    **dict.fromkeys(SLOPES, _slope),
    **dict.fromkeys(("Elu", "Gelu", "HardSigmoid", "LeakyRelu", "Selu", "Swish"), _slope),
    **dict.fromkeys(MOVES, _move),
    **dict.fromkeys(
        ("GlobalAveragePool", "GlobalMaxPool", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean",
         "ReduceMin", "ReduceSum"),
        _reduce,
    ),
    **dict.fromkeys(("Concat", "Max", "Min", "Where"), _apart),
    **dict.fromkeys(("AveragePool", "MaxPool"), _pool),
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), _multiplied),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("Expand", "Tile"), _expand),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "Add": _add,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Div": divide,
    "Exp": exponential,
    "Gather": _gather,
    "InstanceNormalization": normalise,
    "LayerNormalization": normalise,
    "Log": log,
    "Mean": _mean,
    "Mul": multiply,
    "Pad": _pad,
    "Pow": power,
    "PRelu": _prelu,
    "RMSNormalization": normalise,
    "Reciprocal": reciprocal,
    "Sqrt": root,
    "Sub": subtract,
    "Sum": _add,
}  # fmt: skip
