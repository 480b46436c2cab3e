"""Adds nodes that compute Gram matrices in the graph: only d x d matrices leave the device.

An execution graph gets, for every tap, nodes that lay its observations out, multiply them with
themselves and make the result an output. The observations of a Conv with explicit pads are slices
of its padded input. Those of any other convolution are a convolution: the node itself with a
one-hot kernel per kernel position, one group per channel, and its own strides, dilations, pads,
``auto_pad`` and output shape. Either way batch and image may have any size at run time.

Products are in float32, whatever the graph's type, of observations whose mean is taken off in the
graph; :meth:`GramOutputs.read` puts it back in float64. With the CUDA provider,
``use_tf32=0`` must be set, or products have ten bits.

One graph holds one network: the product of a dense network's observations with a pruned one's,
which the sequential mode needs for its target, cannot be had here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import MAX_PROTO_BYTES
from onnx_lobs.graph.writer import Writer
from onnx_lobs.layers.layer import Use
from onnx_lobs.layers.operators import OPERATORS
from onnx_lobs.linalg.convolution.geometry import Unfold

LEAST_OPSET = 7  # elementwise operators broadcast as in NumPy from here on
LEAST_IR = 4  # initializers need not be inputs from here on
SLICE_OPSET = 11  # Slice has steps, and Pad and Slice have inputs, from here on
ALL = 2**31 - 1  # the end of an axis in Slice


Wide = FloatArray
Tap = tuple[object, ...]


@dataclass(frozen=True)
class GramOutputs:
    """Names of the outputs that hold the sums of one tap, of n observations x.

    Parameters
    ----------
    scatter
        ``sum (x - mean)(x - mean)^T``, float32 (groups, d, d).
    mean, rest
        The mean as float32 has it, and ``sum (x - mean)``, which is nearly zero; float32,
        d values per group.
    count
        n, int64, one value.
    scale
        Factor of the observations that is still to be applied (Gemm's alpha).
    """

    scatter: str
    mean: str
    rest: str
    count: str
    scale: float = 1.0

    @property
    def names(self) -> tuple[str, str, str, str]:
        """All outputs."""
        return self.scatter, self.mean, self.rest, self.count

    def read(self, values: Mapping[str, Array]) -> tuple[Wide, Wide, int]:
        """Return ``sum x x^T`` (groups, d, d), ``sum x`` (groups, d), and n, in float64.

        Parameters
        ----------
        values
            What a session gave, by output name. Not modified.
        """
        matrix = values[self.scatter].astype(np.float64)
        groups, columns = matrix.shape[:2]
        mean = values[self.mean].astype(np.float64).reshape(groups, columns)
        rest = values[self.rest].astype(np.float64).reshape(groups, columns)
        count = int(values[self.count].item())
        cross = (rest + 0.5 * count * mean)[:, :, None] * mean[:, None, :]
        matrix += cross
        matrix += cross.swapaxes(1, 2)
        return matrix * self.scale**2, (rest + count * mean) * self.scale, count


def add_gram_outputs(
    graph: onnx.GraphProto, model: Model, wanted: Iterable[tuple[Use, int]]
) -> dict[Tap, GramOutputs | str]:
    """Add the sums of every wanted tap to the outputs of `graph`, in place.

    Parameters
    ----------
    graph
        A copy of the main graph of `model`, or of some of its nodes; the taps are among its
        values. Outputs that it has stay.
    model
        The index of the original. Not modified.
    wanted
        Uses, each with the number of columns d of its layer's matrices.

    Returns
    -------
    dict
        For the key ``use.tap`` the outputs, or the reason why the sums cannot be computed in
        the graph, so that the caller computes them from the tapped activation and says so.

    Notes
    -----
    Cost, when it runs: the observations of one tap in device memory (n d floats), three to four
    times, as many passes over them, and 2 n d^2 flops per group, twice those of SYRK.
    A tap that is empty at run time counts nothing on the CPU provider.

    onnxruntime's default order of execution lays every tap's observations out before it finishes
    the first (6.9 GB in place of 0.9 GB for a network of 47 layers, and ten times as slow);
    set ``execution_order = ExecutionOrder.PRIORITY_BASED``, which takes nodes as they stand.
    """
    found: dict[Tap, GramOutputs | str] = {}
    ranks: dict[str, int] | None = None
    writer = Writer(graph, model.opset)
    for use, columns in wanted:
        if use.tap in found:
            continue
        if refusal := _refusal(model, use):
            found[use.tap] = refusal
        elif use.unfold is not None:
            node = model.main.producers[use.output]
            found[use.tap] = _add_conv(writer, use, use.unfold, columns, node)
        else:
            needs_rank = use.transposed or _has_batch(use)
            if needs_rank and ranks is None and OPERATORS[use.op].rank is None:
                ranks = _infer_ranks(model)
            found[use.tap] = _add_product(writer, use, columns, ranks or {})
    return found


def _refusal(model: Model, use: Use) -> str | None:
    if model.opset < LEAST_OPSET:
        return f"opset {model.opset} is below {LEAST_OPSET}"
    if model.proto.ir_version < LEAST_IR:
        return f"IR version {model.proto.ir_version} is below {LEAST_IR}; use the execution copy"
    if use.contraction is not None:
        return "its axes stand in another order than a MatMul's"
    return "it is inside a branch" if use.scope else None


def _add_conv(
    writer: Writer, use: Use, geometry: Unfold, columns: int, node: onnx.NodeProto
) -> GramOutputs:
    value = writer.node("Cast", [use.input], to=TensorProto.FLOAT)
    channels = use.groups * columns // geometry.kernel_size
    sliced = _is_sliceable(geometry, writer.opset)
    if not sliced:
        value = _convolve(writer, value, geometry, channels, node)
    swap = [1, 0, *range(2, len(geometry.kernel) + 2)]
    value = writer.node("Transpose", [value], perm=swap)
    if sliced and not _is_pointwise(geometry):
        value = _slice(writer, value, geometry)
    value = writer.reshape(value, (use.groups, columns, -1))
    return _add_sums(writer, value, use, columns, samples_axis=2)


def _is_sliceable(geometry: Unfold, opset: int) -> bool:
    """Whether what a kernel position reads is a slice of the image, of whatever size."""
    if geometry.flip or geometry.auto_pad != "NOTSET":
        return False
    return opset >= SLICE_OPSET or _is_pointwise(geometry)


def _slice(writer: Writer, value: str, geometry: Unfold) -> str:
    """Return (channels, positions, samples, *output) of images (channels, samples, *spatial)."""
    nd = len(geometry.kernel)
    if any(geometry.pads):
        begin, end = geometry.pads[:nd], geometry.pads[nd:]
        pads = writer.integers(0, 0, *begin, 0, 0, *end)
        value = writer.node("Pad", [value, pads])
    value = writer.unsqueeze(value, 1)
    axes, steps = writer.integers(*range(3, nd + 3)), writer.integers(*geometry.strides)
    found = []
    for position in itertools.product(*(range(size) for size in geometry.kernel)):
        at = [k * dilation for k, dilation in zip(position, geometry.dilations, strict=True)]
        left = [begin - extent + 1 for begin, extent in zip(at, geometry.extent, strict=True)]
        ends = writer.integers(*(end or ALL for end in left))
        found.append(writer.node("Slice", [value, writer.integers(*at), ends, axes, steps]))
    return writer.node("Concat", found, axis=1)


def _convolve(
    writer: Writer, value: str, geometry: Unfold, channels: int, node: onnx.NodeProto
) -> str:
    """Return (samples, channels * positions, *output): what each position reads of a channel."""
    kernel = writer.constant(_one_hot(geometry, channels))
    made = writer.node(node.op_type, [value, kernel])
    kept = [a for a in node.attribute if a.name != "group"]
    writer.graph.node[-1].attribute.extend([*kept, helper.make_attribute("group", channels)])
    return made


def _is_pointwise(geometry: Unfold) -> bool:
    """Whether the windows of a Conv are the pixels."""
    return set(geometry.kernel + geometry.strides) == {1} and not any(geometry.pads)


def _one_hot(geometry: Unfold, channels: int) -> Array:
    """Return the kernels that pick one position each: of a Conv or, if flipped, a ConvTranspose."""
    size = geometry.kernel_size
    eye = np.eye(size, dtype=np.float32).reshape(1, size, *geometry.kernel)
    stack = np.repeat(eye, channels, axis=0)
    return stack if geometry.flip else stack.reshape(channels * size, 1, *geometry.kernel)


def _add_product(
    writer: Writer, use: Use, columns: int, ranks: Mapping[str, int]
) -> GramOutputs | str:
    rank = OPERATORS[use.op].rank
    if rank is None:
        rank = ranks.get(use.input)
    batch = use.batch if _has_batch(use) else ()
    if (use.transposed or batch) and rank is None:
        return f"the rank of its input {use.input!r} is not known"
    value = writer.node("Cast", [use.input], to=TensorProto.FLOAT)
    flat = use.transposed and rank != 1
    if rank == 1:
        value = writer.reshape(value, (1, columns))
    if batch:
        zeros = writer.constant(np.zeros((*batch, 1, 1), np.float32))
        value = writer.node("Add", [value, zeros])
    if flat or batch:
        lead = max(rank or 2, len(batch) + 2) - 2
        grouped = [lead - len(batch) + i for i, size in enumerate(batch) if size > 1]
        rest = [axis for axis in range(lead) if axis not in grouped]
        last = [lead + 1, lead] if flat else [lead, lead + 1]
        value = writer.node("Transpose", [value], perm=[*grouped, *rest, *last])
    value = writer.reshape(value, (use.groups, -1, columns))
    return _add_sums(writer, value, use, columns, samples_axis=1)


def _has_batch(use: Use) -> bool:
    return any(size > 1 for size in use.batch)


def _infer_ranks(model: Model) -> dict[str, int]:
    """Return the rank of every value of the main graph for which it is known."""
    proto = model.proto
    if proto.ByteSize() <= MAX_PROTO_BYTES:
        proto = onnx.shape_inference.infer_shapes(proto)
    graph = proto.graph
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    for info in (*graph.value_info, *graph.input, *graph.output):
        if info.type.tensor_type.HasField("shape"):
            ranks[info.name] = len(info.type.tensor_type.shape.dim)
    return ranks


def _add_sums(writer: Writer, value: str, use: Use, columns: int, samples_axis: int) -> GramOutputs:
    """Centre, multiply and output the observations in `value`, of rank 3 with groups first."""
    mean = writer.reduce("ReduceMean", value, samples_axis)
    rest = writer.node("Sub", [value, mean])
    turned = writer.node("Transpose", [rest], perm=[0, 2, 1])
    pair = [turned, rest] if samples_axis == 1 else [rest, turned]
    scatter = writer.node("MatMul", pair)
    left = writer.reduce("ReduceSum", rest, samples_axis)
    shape = writer.node("Shape", [value])
    count = writer.node("Gather", [shape, writer.integers(samples_axis)], axis=0)
    vector = [use.groups, 1, columns] if samples_axis == 1 else [use.groups, columns, 1]
    writer.show(scatter, TensorProto.FLOAT, [use.groups, columns, columns])
    writer.show(mean, TensorProto.FLOAT, vector)
    writer.show(left, TensorProto.FLOAT, vector)
    writer.show(count, TensorProto.INT64, [1])
    return GramOutputs(scatter, mean, left, count, use.scale)
