"""Small networks whose channels are coupled in every way that there is a rule for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
import pytest
from build_onnx import model, value
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, helper

from onnx_lobs.arrays import Array

CHANNELS = 12
HAS_ATTENTION = tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= (1, 23)
WITH_ATTENTION = pytest.mark.skipif(not HAS_ATTENTION, reason="onnxruntime is too old")
SIZE = 6


@dataclass
class Chain:
    """A network that grows node by node; constants get names of their own."""

    seed: int = 0
    nodes: list[NodeProto] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def normal(self, *shape: int) -> str:
        """Add a float constant."""
        return self.constant(self.rng.standard_normal(shape).astype(np.float32))

    def positive(self, *shape: int) -> str:
        """Add a float constant above zero."""
        return self.constant(self.rng.uniform(0.5, 1.5, shape).astype(np.float32))

    def ints(self, *values: int) -> str:
        """Add a constant of whole numbers."""
        return self.constant(np.array(values, np.int64))

    def constant(self, array: Array) -> str:
        """Add a constant."""
        name = f"c{len(self.weights)}"
        self.weights[name] = array
        return name

    def add(self, op: str, *inputs: str, n: int = 0, **attributes: Any) -> Any:
        """Add a node; return its output, or its `n` outputs."""
        outputs = [f"v{len(self.nodes)}_{i}" for i in range(max(n, 1))]
        node = helper.make_node(op, list(inputs), outputs, name=f"n{len(self.nodes)}", **attributes)
        self.nodes.append(node)
        return outputs if n else outputs[0]

    def conv(self, x: str, rows: int, channels: int, k: int = 1, groups: int = 1) -> str:
        """Add a Conv with a bias that keeps the image's size."""
        weight, bias = self.normal(rows, channels // groups, k, k), self.normal(rows)
        pads = [k // 2] * 4
        return str(self.add("Conv", x, weight, bias, pads=pads, group=groups))

    def dense(self, x: str, rows: int, columns: int) -> str:
        """Add a MatMul and a bias."""
        return str(
            self.add("Add", self.add("MatMul", x, self.normal(columns, rows)), self.normal(rows))
        )

    def proto(self, y: str, rank: int = 4, opset: int = 17) -> ModelProto:
        """Return the network from x to y: images of 3 channels, or sequences of 8 numbers."""
        self.nodes.append(helper.make_node("Identity", [y], ["y"], name="last"))
        shape = {4: ["n", 3, SIZE, SIZE], 3: ["n", 5, 8], 2: ["n", 8]}[rank]
        shown = "y" if opset <= 17 else value("y", ["n", *[None] * (rank - 1)])  # nothing infers it
        return model(self.nodes, [value("x", shape)], [shown], self.weights, opset=opset)


Middle = Callable[[Chain, str], tuple[str, int]]
Change = Callable[[Chain, str, int], str]


def between(middle: Middle, kernel: int = 3, opset: int = 17) -> ModelProto:
    """Return a network with something between two convolutions; it says how wide it ends."""
    chain = Chain()
    x, width = middle(chain, chain.conv("x", CHANNELS, 3, 3))
    return chain.proto(chain.conv(x, 4, width, kernel), opset=opset)


def samples(rank: int = 4, n: int = 2, seed: int = 5) -> dict[str, Array]:
    """Return inputs of such a network."""
    shape = {4: (n, 3, SIZE, SIZE), 3: (n, 5, 8), 2: (n, 8)}[rank]
    return {"x": np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}


def batches_with_mean(rank: int = 4, count: int = 4, n: int = 8) -> list[dict[str, Array]]:
    """Return batches of inputs about 0.5, so that a bias that is forgotten shows."""
    return [{"x": samples(rank, n, seed)["x"] + np.float32(0.5)} for seed in range(count)]


def relu(c: Chain, x: str) -> tuple[str, int]:
    return c.add("Relu", x), CHANNELS


def residual(c: Chain, x: str) -> tuple[str, int]:
    inner = c.add("Relu", c.conv(x, 7, CHANNELS, 3))
    return c.add("Add", x, c.conv(inner, CHANNELS, 7)), CHANNELS


def concat(c: Chain, x: str) -> tuple[str, int]:
    return c.add("Concat", c.conv(x, 5, CHANNELS), x, axis=1), CHANNELS + 5


def split(c: Chain, x: str) -> tuple[str, int]:
    one, other = c.add("Split", x, c.ints(5, 7), n=2, axis=1)
    return c.add("Concat", c.add("Relu", other), one, axis=1), CHANNELS


def equal_split(c: Chain, x: str) -> tuple[str, int]:
    one, other = c.add("Split", x, n=2, axis=1)
    return c.add("Mul", one, c.add("Sigmoid", other)), CHANNELS // 2


def cut(c: Chain, x: str) -> tuple[str, int]:
    return c.add("Slice", x, c.ints(2), c.ints(-3), c.ints(1)), CHANNELS - 5


def gather(c: Chain, x: str) -> tuple[str, int]:
    return c.add("Gather", x, c.ints(7, 2, 2, 11, 0), axis=1), 5


def depthwise(c: Chain, x: str) -> tuple[str, int]:
    return c.conv(c.add("Relu", x), CHANNELS, CHANNELS, 3, groups=CHANNELS), CHANNELS


def depth_multiplier(c: Chain, x: str) -> tuple[str, int]:
    return c.conv(x, 2 * CHANNELS, CHANNELS, 3, groups=CHANNELS), 2 * CHANNELS


def grouped(c: Chain, x: str) -> tuple[str, int]:
    return c.conv(c.add("Relu", x), 9, CHANNELS, 3, groups=3), 9


def transposed(c: Chain, x: str) -> tuple[str, int]:
    return c.add("ConvTranspose", x, c.normal(CHANNELS, 5, 2, 2), c.normal(5), strides=[2, 2]), 5


def transposed_groups(c: Chain, x: str) -> tuple[str, int]:
    return c.add("ConvTranspose", x, c.normal(CHANNELS, 3, 2, 2), group=3), 9


def transposed_depthwise(c: Chain, x: str) -> tuple[str, int]:
    weight = c.normal(CHANNELS, 1, 2, 2)
    return c.add("ConvTranspose", x, weight, group=CHANNELS), CHANNELS


def batch_norm(c: Chain, x: str) -> tuple[str, int]:
    parameters = [c.positive(CHANNELS), c.normal(CHANNELS), c.normal(CHANNELS)]
    return c.add("BatchNormalization", x, *parameters, c.positive(CHANNELS)), CHANNELS


def instance_norm(c: Chain, x: str) -> tuple[str, int]:
    parameters = c.positive(CHANNELS), c.normal(CHANNELS)
    return c.add("InstanceNormalization", x, *parameters), CHANNELS


def scale(c: Chain, x: str) -> tuple[str, int]:
    return c.add("Add", c.add("Mul", x, c.normal(CHANNELS, 1, 1)), c.normal(1, 1, 1, 1)), CHANNELS


def prelu(c: Chain, x: str) -> tuple[str, int]:
    return c.add("PRelu", x, c.normal(CHANNELS, 1, 1)), CHANNELS


def gate(c: Chain, x: str) -> tuple[str, int]:
    mean = c.add("GlobalAveragePool", x)
    inner = c.add("Relu", c.conv(mean, 6, CHANNELS))
    return c.add("Mul", x, c.add("Sigmoid", c.conv(inner, CHANNELS, 6))), CHANNELS


def pools(c: Chain, x: str) -> tuple[str, int]:
    x = c.add("MaxPool", x, kernel_shape=[2, 2])
    return c.add("AveragePool", x, kernel_shape=[2, 2]), CHANNELS


def pad_and_resize(c: Chain, x: str) -> tuple[str, int]:
    x = c.add("Pad", x, c.ints(0, 0, 1, 0, 0, 0, 0, 2))
    return c.add("Resize", x, "", "", c.ints(2, CHANNELS, 9, 4)), CHANNELS


def depth_to_space(c: Chain, x: str) -> tuple[str, int]:
    return c.add("DepthToSpace", x, blocksize=2), CHANNELS // 4


def depth_to_space_crd(c: Chain, x: str) -> tuple[str, int]:
    return c.add("DepthToSpace", x, blocksize=2, mode="CRD"), CHANNELS // 4


def space_to_depth(c: Chain, x: str) -> tuple[str, int]:
    return c.add("SpaceToDepth", x, blocksize=2), CHANNELS * 4


def pixel_shuffle(c: Chain, x: str) -> tuple[str, int]:
    x = c.add("Reshape", x, c.ints(-1, 3, 2, 2, SIZE, SIZE))
    x = c.add("Transpose", x, perm=[0, 1, 4, 2, 5, 3])
    return c.add("Reshape", x, c.ints(-1, 3, 2 * SIZE, 2 * SIZE)), 3


def channel_shuffle(c: Chain, x: str) -> tuple[str, int]:
    x = c.add("Reshape", x, c.ints(0, 3, 4, SIZE, SIZE))
    x = c.add("Transpose", x, perm=[0, 2, 1, 3, 4])
    return c.add("Reshape", x, c.ints(0, CHANNELS, SIZE, SIZE)), CHANNELS


def squeeze(c: Chain, x: str) -> tuple[str, int]:
    x = c.add("Squeeze", c.add("GlobalMaxPool", x), c.ints(2, 3))
    return c.add("Unsqueeze", x, c.ints(2, 3)), CHANNELS


def reduced(c: Chain, x: str) -> tuple[str, int]:
    return c.add("ReduceMean", x, axes=[2, 3], keepdims=1), CHANNELS


def weight_reshaped(c: Chain, x: str) -> tuple[str, int]:
    bias = c.add("Reshape", c.normal(CHANNELS), c.ints(1, CHANNELS, 1, 1))
    return c.add("Add", x, bias), CHANNELS


def turned_there_and_back(c: Chain, x: str) -> tuple[str, int]:
    x = c.add("Transpose", x, perm=[0, 2, 3, 1])
    return c.add("Transpose", c.dense(x, 9, CHANNELS), perm=[0, 3, 1, 2]), 9


def tiled(c: Chain, x: str) -> tuple[str, int]:
    x = c.add("Tile", c.add("GlobalAveragePool", x), c.ints(1, 1, 2, 2))
    return c.add("Expand", c.add("GlobalAveragePool", x), c.ints(1, 1, 3, 3)), CHANNELS


def size_read(c: Chain, x: str) -> tuple[str, int]:
    """Name the sizes of a Reshape by those of the samples and of constants."""
    count = c.add("Gather", c.add("Shape", x), c.ints(0))
    shape = c.add("Concat", count, c.ints(CHANNELS), c.ints(SIZE * SIZE), axis=0)
    x = c.add("Reshape", x, shape)
    return c.add("Reshape", x, c.ints(0, 0, SIZE, SIZE)), CHANNELS


def quantised(c: Chain, x: str) -> tuple[str, int]:
    """Quantise each channel by a scale of its own, and filters that are stored quantised."""
    scale, zero = c.positive(CHANNELS), c.constant(np.zeros(CHANNELS, np.int8))
    x = c.add("QuantizeLinear", x, c.constant(np.full(CHANNELS, 0.25, np.float32)), zero, axis=1)
    x = c.add("DequantizeLinear", x, scale, zero, axis=1)
    stored = c.constant(c.rng.integers(-9, 9, (CHANNELS, 1, 3, 3)).astype(np.int8))
    weight = c.add("DequantizeLinear", stored, scale, axis=0)
    return c.add("Conv", x, weight, pads=[1] * 4, group=CHANNELS), CHANNELS


def filled(c: Chain, x: str) -> tuple[str, int]:
    """Add a constant that is filled with one number."""
    return c.add("Add", x, c.add("ConstantOfShape", c.ints(1, CHANNELS, 1, 1))), CHANNELS


def einsum(c: Chain, x: str) -> tuple[str, int]:
    return c.add("Einsum", x, c.normal(9, CHANNELS), equation="nc...,dc->nd..."), 9


def two_sizes_read(c: Chain, x: str) -> tuple[str, int]:
    """Merge samples and rows, and part them again by sizes that are read."""
    x = c.add("Transpose", x, perm=[0, 2, 3, 1])
    shape = c.add("Shape", x)
    count, rows = (c.add("Gather", shape, c.ints(place)) for place in (0, 1))
    x = c.dense(c.add("Reshape", x, c.ints(-1, CHANNELS)), 9, CHANNELS)
    x = c.add("Reshape", x, c.add("Concat", count, rows, c.ints(SIZE, 9), axis=0))
    return c.add("Transpose", x, perm=[0, 3, 1, 2]), 9


MIDDLES: tuple[Middle, ...] = (
    relu, residual, concat, split, equal_split, cut, gather, depthwise, depth_multiplier, grouped,
    transposed, transposed_groups, transposed_depthwise, batch_norm, instance_norm, scale, prelu,
    gate, pools, pad_and_resize, depth_to_space, depth_to_space_crd, space_to_depth, pixel_shuffle,
    channel_shuffle, squeeze, reduced, weight_reshaped, turned_there_and_back, tiled, size_read,
    quantised, einsum, two_sizes_read, filled,
)  # fmt: skip

# these name the size of the first image, or need an even one
FIRST_ONLY = (channel_shuffle, pixel_shuffle, size_read, two_sizes_read, space_to_depth)
TO_ONE_PIXEL = (squeeze, reduced)


def rows_of_middles(choice: Sequence[Middle] = MIDDLES) -> st.SearchStrategy[list[Middle]]:
    """Draw two or three of some middles that can stand in a row."""
    others = st.sampled_from([middle for middle in choice if middle not in FIRST_ONLY])
    rest = st.lists(others, min_size=1, max_size=2)
    rows = st.builds(lambda first, more: [first, *more], st.sampled_from(choice), rest)
    return rows.filter(is_large_enough)


def is_large_enough(middles: Sequence[Middle]) -> bool:
    """Return whether what is pooled, once and by two rows, has more than one pixel."""
    if pools not in middles:
        return True
    before = middles[: middles.index(pools)]
    return middles.count(pools) == 1 and not any(each in TO_ONE_PIXEL for each in before)


def in_a_row(middles: Iterable[Middle], seed: int) -> ModelProto:
    """Return a network with each of them behind a convolution."""
    chain, x, width = Chain(seed), "x", 3
    for middle in middles:
        x, width = middle(chain, chain.conv(x, CHANNELS, width, 3))
    return chain.proto(chain.conv(x, 4, width, 3))


def flattened() -> ModelProto:
    """Return a network in which every channel is a run of a Gemm's columns."""
    c = Chain()
    x = c.add("Flatten", c.add("Relu", c.conv("x", CHANNELS, 3, 3)))
    weight, bias = c.normal(7, CHANNELS * SIZE * SIZE), c.normal(7)
    return c.proto(c.add("Gemm", x, weight, bias, transB=1))


def flattened_last() -> ModelProto:
    """Return the same with channels as the fastest of the merged axes."""
    c = Chain()
    x = c.add("Transpose", c.add("Relu", c.conv("x", CHANNELS, 3, 3)), perm=[0, 2, 3, 1])
    x = c.add("Reshape", x, c.ints(-1, CHANNELS * SIZE * SIZE))
    return c.proto(c.dense(x, 7, CHANNELS * SIZE * SIZE))


def attention(heads: int = 3, depth: int = 4) -> ModelProto:
    """Return a transformer's layer on sequences: heads, and a wide product inside."""
    c, width = Chain(), heads * depth

    def split_heads(x: str, perm: list[int]) -> str:
        count = c.add("Gather", c.add("Shape", x), c.ints(0))
        shape = c.add("Concat", count, c.ints(-1), c.ints(heads), c.ints(depth), axis=0)
        return str(c.add("Transpose", c.add("Reshape", x, shape), perm=perm))

    q = split_heads(c.dense("x", width, 8), [0, 2, 1, 3])
    k = split_heads(c.dense("x", width, 8), [0, 2, 3, 1])
    v = split_heads(c.dense("x", width, 8), [0, 2, 1, 3])
    share = c.add("Softmax", c.add("MatMul", q, k), axis=-1)
    mixed = c.add("Transpose", c.add("MatMul", share, v), perm=[0, 2, 1, 3])
    x = c.add("Add", "x", c.dense(c.add("Reshape", mixed, c.ints(0, 0, width)), 8, width))
    x = c.add("LayerNormalization", x, c.positive(8), c.normal(8))
    return c.proto(c.dense(c.add("Relu", c.dense(x, 16, 8)), 8, 16), rank=3)


def query_key(
    change: Change | None = None, heads: int = 2, depth: int = 6, *, has_bias: bool = True
) -> ModelProto:
    """Return attention of sizes that are constants; `change` stands behind what makes queries."""
    c, width = Chain(), heads * depth

    def made() -> str:
        x = c.add("MatMul", "x", c.normal(8, width))
        return str(c.add("Add", x, c.normal(width)) if has_bias else x)

    def split_heads(x: str, perm: list[int]) -> str:
        return str(c.add("Transpose", c.add("Reshape", x, c.ints(0, 0, heads, depth)), perm=perm))

    q = made()
    q = split_heads(q if change is None else change(c, q, width), [0, 2, 1, 3])
    q = c.add("Mul", q, c.constant(np.array([0.3], np.float32)))
    k, v = split_heads(made(), [0, 2, 3, 1]), split_heads(made(), [0, 2, 1, 3])
    logits = c.add("Add", c.add("MatMul", q, k), c.normal(1, 1, 1, 5))
    mixed = c.add("MatMul", c.add("Softmax", logits, axis=-1), v)
    mixed = c.add("Transpose", mixed, perm=[0, 2, 1, 3])
    x = c.dense(c.add("Reshape", mixed, c.ints(0, 0, width)), 8, width)
    return c.proto(c.add("Add", "x", x), rank=3)


def einsum_attention(heads: int = 3, depth: int = 4) -> ModelProto:
    """Return attention whose products are Einsums: heads are axes of the weights."""
    c = Chain()
    q, k, v = (c.add("Einsum", "x", c.normal(8, heads, depth), equation="btd,dhk->bthk")
               for _ in range(3))  # fmt: skip
    logits = c.add("Einsum", q, k, equation="bthk,bshk->bhts")
    mixed = c.add("Einsum", c.add("Softmax", logits, axis=-1), v, equation="bhts,bshk->bthk")
    y = c.add("Einsum", mixed, c.normal(heads, depth, 8), equation="bthk,hkd->btd")
    return c.proto(c.add("Add", y, c.normal(8)), rank=3)


def fused_attention(heads: int = 3, depth: int = 4) -> ModelProto:
    """Return the operator Attention between products."""
    c, width = Chain(), heads * depth
    q, k, v = (
        c.add("Transpose", c.add("Reshape", c.dense("x", width, 8), c.ints(0, 0, heads, depth)),
              perm=[0, 2, 1, 3])
        for _ in range(3)
    )  # fmt: skip
    x = c.add("Transpose", c.add("Attention", q, k, v), perm=[0, 2, 1, 3])
    return c.proto(c.dense(c.add("Reshape", x, c.ints(0, 0, width)), 8, width), rank=3, opset=23)


def group_norm() -> ModelProto:
    """Return a network with a GroupNormalization of four groups."""

    def middle(c: Chain, x: str) -> tuple[str, int]:
        parameters = c.positive(CHANNELS), c.normal(CHANNELS)
        return c.add("GroupNormalization", x, *parameters, num_groups=4), CHANNELS

    return between(middle, opset=21)


# networks that are more than a middle, and the axes of their inputs
WHOLE_NETWORKS = (
    pytest.param(flattened, 4),
    pytest.param(flattened_last, 4),
    pytest.param(attention, 3),
    pytest.param(group_norm, 4),
    pytest.param(einsum_attention, 3),
    pytest.param(fused_attention, 3, marks=WITH_ATTENTION),
)
