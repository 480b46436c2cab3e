"""Pad nodes of zeros become the pads of the convolutions behind them.

onnxruntime does the same where it may; it may not where the padded value is an output, as the input
of a layer is when it is tapped. Then the Pad and two changes of layout run apart, and the border is
stored and read with every image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, attributes, outer_names
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.run.stages import constant_makers

PADS, VALUE, AXES = 1, 2, 3  # inputs of Pad
PADS_AS_INPUT = 11  # opset; before, sizes and value are attributes


def fold_pads(proto: onnx.ModelProto, folder: Path | None, provider: str) -> int:
    """Fold the Pads of the main graph into the Convs that read them, in place; return how many.

    A Pad is folded if it adds zeros, none of them to samples or channels, and if nothing but
    convolutions with explicit pads reads what it gives. Its sizes may be computed from constants,
    as exporters like to; they are then computed by onnxruntime, in one run.

    Parameters
    ----------
    proto
        A model that onnxruntime loads.
    """
    model = Model(proto, folder)
    found = [node for node in proto.graph.node if _may_fold(model, node)]
    known = _constants(model, [name for node in found for name in node.input[1:] if name], provider)
    folded: set[str] = set()
    for node in found:
        convs = [reader for _, reader in model.main.readers[node.output[0]]]
        every = [_folded(model, node, conv, known) for conv in convs]
        if None not in every:
            folded.add(node.output[0])
            for conv, pads in zip(convs, every, strict=True):
                _set_input(conv, node.input[0], pads or ())
    if folded:
        kept = [node for node in proto.graph.node if node.output[0] not in folded]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
        del proto.graph.node[:]
        proto.graph.node.extend(copies)
    return len(folded)


def _may_fold(model: Model, node: onnx.NodeProto) -> bool:
    """Whether a node is a Pad with a constant whose readers are all convolutions of main."""
    if node.op_type != "Pad" or node.domain not in DEFAULT_DOMAINS:
        return False
    name = node.output[0]
    readers = model.main.readers.get(name, [])
    return (
        attributes(node).get("mode", "constant") == "constant"
        and not model.main.is_output(name)
        and bool(readers)
        and all(scope is model.main and _reads(reader, name) for scope, reader in readers)
        and not _read_in_subgraphs(model, name)
    )


def _reads(node: onnx.NodeProto, name: str) -> bool:
    """Whether a node is a convolution of `name`, and reads it nowhere else."""
    is_conv = node.op_type == "Conv" and node.domain in DEFAULT_DOMAINS
    return is_conv and list(node.input).count(name) == 1 and node.input[0] == name


def _read_in_subgraphs(model: Model, name: str) -> bool:
    return any(
        name in outer_names(node) and name not in node.input for node in model.main.graph.node
    )


def _constants(model: Model, names: Sequence[str], provider: str) -> dict[str, Array]:
    """Return those of the values that are constants, or computed from nothing else."""
    found = {
        name: model.value(tensor)
        for name in names
        if (tensor := model.constant(model.main, name)) is not None
    }
    makers = constant_makers(model)
    wanted = sorted({name for name in names if name in makers and name not in found})
    needed, read, pending = set[int](), set[str](), list(wanted)
    while pending:
        index = makers.get(pending.pop())
        if index is not None and index not in needed:
            needed.add(index)
            inputs = [name for name in model.main.graph.node[index].input if name]
            read.update(inputs)
            pending += inputs
    if not wanted or read & model.main.inputs:  # what can be fed is not constant
        return found
    graph = onnx.GraphProto(name="constants")
    graph.node.extend(model.main.graph.node[index] for index in sorted(needed))
    tensors = model.main.initializers
    graph.initializer.extend(tensors[name] for name in sorted(read & set(tensors)))
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    proto = onnx.ModelProto(ir_version=model.proto.ir_version, graph=graph)
    proto.opset_import.extend(model.proto.opset_import)
    return found | Session(proto, folder=model.folder, provider=provider, light=True).run({})


def _folded(
    model: Model, node: onnx.NodeProto, conv: onnx.NodeProto, known: Mapping[str, Array]
) -> list[int] | None:
    """Return the pads of a convolution of the value not padded, or None if it cannot say so."""
    given = attributes(conv)
    weight = model.constant(model.main, conv.input[1])
    auto = given.get("auto_pad", "NOTSET")
    if weight is None or auto not in ("NOTSET", "VALID"):
        return None
    rank = len(weight.dims)
    added = _added(model, node, known, rank)
    if added is None or added.min() < 0 or added[:, :2].any():
        return None
    own = given.get("pads") if auto == "NOTSET" else None
    pads = np.array(own if isinstance(own, list) else [0] * (2 * rank - 4)).reshape(2, -1)
    return [int(pad) for pad in (pads + added[:, 2:]).ravel()]


def _added(
    model: Model, node: onnx.NodeProto, known: Mapping[str, Array], rank: int
) -> Array | None:
    """Return how many zeros a Pad adds (2, rank), before and behind; None if that is not known."""
    given = attributes(node)
    if model.opset < PADS_AS_INPUT:
        sizes, value, axes = np.array(given.get("pads")), given.get("value", 0.0), np.arange(rank)
    else:
        if any(name and name not in known for name in node.input[1:]):
            return None
        of = [known.get(name, np.array([])).ravel() for name in (*node.input, "", "")]
        sizes, value = of[PADS], of[VALUE][0] if of[VALUE].size else 0.0
        axes = of[AXES] if of[AXES].size else np.arange(rank)
    if value != 0 or sizes.size != 2 * axes.size:
        return None
    added = np.zeros((2, rank), np.int64)
    added[:, axes] = sizes.reshape(2, -1)
    return added


def _set_input(conv: onnx.NodeProto, source: str, pads: Sequence[int]) -> None:
    conv.input[0] = source
    rest = [a for a in conv.attribute if a.name not in ("pads", "auto_pad")]
    rest = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in rest]
    del conv.attribute[:]
    conv.attribute.extend([*rest, onnx.helper.make_attribute("pads", list(pads))])
