"""Check the gradients of whole models against another tool, and measure what they cost.

    pip install onnx-ad
    python tools/zoo.py --out ZOO
    python tools/check_derivatives.py --zoo ZOO [--models minilm-l3,...] [--samples 4]

For every model the gradients of randomly weighted outputs at the pre-activations of all layers are
appended, and compared at some of them with those of onnx-ad 0.3 (MIT): there the model is cut at
that value, which becomes an input. The table has the greatest relative difference in the Euclidean
norm. Where rounding moves a value over the limit of a Clip, one element differs wholly. Rows say
which nodes stop the gradient. *Backward* is the time that the gradients add to a forward pass, over
that of the pass: least CPU seconds of interleaved rounds on one core.

Two things are rewritten in the copy for the other tool, both exactly: pads of a Conv become a Pad,
because it makes wrong gradients of pads (0, 0, 1, 1) with stride 2, and opsets before 16 are
converted, whose Softmax and MaxPool it refuses. The table is written to ``OUT/derivatives.md``.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import onnx
import onnx_ad
import zoo
from onnx import helper, version_converter

from onnx_lobs.arrays import Array
from onnx_lobs.data.inputs import input_specs
from onnx_lobs.graph.derivatives.observed import ObservedValues, observe
from onnx_lobs.graph.derivatives.reverse import append_gradients, gradient_writer
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.model import Model, attributes
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.graph.run.session import Session
from onnx_lobs.layers.find import LayerFilter, find_layers

CPU = "CPUExecutionProvider"
HERE = Path(__file__).parents[1]
HEAD = "| model | nodes | layers | stopped at | compared | relative difference | backward |\n"


def main() -> None:
    """Check every model and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--models", default=",".join(zoo.NAMES))
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--places", type=int, default=6, help="values that are compared")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "tools" / "results")
    given = parser.parse_args()
    os.sched_setaffinity(0, {given.core})
    rows = [HEAD + "|---|---|---|---|---|---|---|\n"]
    for name in given.models.split(","):
        rows.append(check(name, given.zoo, given.samples, given.places, given.rounds))
        print(rows[-1], end="", flush=True)
    (given.out / "derivatives.md").write_text("# Gradients of whole models\n\n" + "".join(rows))


def check(name: str, zoo_folder: Path, samples: int, places: int, rounds: int) -> str:
    """Return one row of the table."""
    subject = zoo.load(name, zoo_folder)
    loaded = load_model(subject.path)
    dense, _ = to_executable(loaded.proto, loaded.folder, CPU)
    extended = copied(dense)
    model = Model(extended, loaded.folder)
    feeds = {
        spec.name: subject.calibration[spec.name][:samples].astype(spec.dtype)
        for spec in input_specs(dense)
    }
    layers, _ = find_layers(model, LayerFilter(depthwise=True))
    wanted = [use.output for layer in layers for use in layer.uses]
    seen = observe(model, feeds, provider=CPU)
    rng = np.random.default_rng(0)
    shares = {
        out.name: rng.standard_normal(seen.shapes[out.name]).astype(np.float32)
        for out in dense.graph.output
        if seen.types[out.name].kind == "f"
    }
    writer = gradient_writer(model)
    given = {output: writer.constant(share) for output, share in shares.items()}
    found = append_gradients(model, writer, given, wanted, seen)
    for gradient in found.names.values():
        extended.graph.output.append(onnx.ValueInfoProto(name=gradient))
    cost = backward_cost(dense, extended, feeds, rounds)
    known = [value for value in found.names if value not in shares]
    chosen = [known[i] for i in np.unique(np.linspace(0, len(known) - 1, places).astype(int))]
    for value in chosen:
        extended.graph.output.append(onnx.ValueInfoProto(name=value))
    ours = Session(extended).run(feeds)
    for_another = readable(dense, seen, feeds)
    worst = max(
        difference(gradient_by_another(for_another, feeds, value, ours[value], shares),
                   ours[found.names[value]])
        for value in chosen
    )  # fmt: skip
    cells = (
        name, len(dense.graph.node), f"{len(found.names)} of {len(wanted)}",
        ", ".join(map(str, found.stopped)) or "nothing", len(chosen), f"{worst:.1e}", f"{cost:.2f}",
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |\n"


def backward_cost(
    dense: onnx.ModelProto, extended: onnx.ModelProto, feeds: dict[str, Array], rounds: int
) -> float:
    """Return the time that the gradients take, in forward passes."""
    sessions = [Session(dense), Session(extended)]
    least = [np.inf, np.inf]
    for _ in range(rounds):
        for i, session in enumerate(sessions):
            started = time.process_time()
            session.run(feeds)
            least[i] = min(least[i], time.process_time() - started)
    return (least[1] - least[0]) / least[0]


def gradient_by_another(
    proto: onnx.ModelProto,
    feeds: dict[str, Array],
    value: str,
    at: Array,
    shares: dict[str, Array],
) -> Array:
    """Return the gradient at a value, which is made an input of the model."""
    cut = copied(proto)
    for node in cut.graph.node:
        node.output[:] = [f"{name}_cut" if name == value else name for name in node.output]
    rest = [copied_info(info) for info in cut.graph.value_info if info.name != value]
    del cut.graph.value_info[:]
    cut.graph.value_info.extend(rest)
    cut.graph.input.append(helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, at.shape))
    reverse = onnx_ad.reverse(cut, inputs=[value], outputs=list(shares), layout="onnx")
    seeds = {f"adj_{output}": share[..., None] for output, share in shares.items()}
    wanted = f"adj_{value}"
    return Session(reverse).run({**feeds, value: at, **seeds}, [wanted])[wanted][..., 0]


def difference(one: Array, other: Array) -> float:
    """Return the difference over the second, in the Euclidean norm."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def readable(
    proto: onnx.ModelProto, seen: ObservedValues, feeds: dict[str, Array]
) -> onnx.ModelProto:
    """Return a copy that states all shapes, without what the other tool gets wrong or refuses."""
    is_old = any(i.version < 16 for i in proto.opset_import if i.domain in ("", "ai.onnx"))
    result = version_converter.convert_version(proto, 16) if is_old else copied(proto)
    graph = result.graph
    nodes = []
    for node in graph.node:
        pads = attributes(node).get("pads") if node.op_type == "Conv" else None
        if pads and any(pads):
            rank = len(pads) // 2
            kept = [a for a in node.attribute if a.name not in ("pads", "auto_pad")]
            kept.append(helper.make_attribute("pads", [0] * len(pads)))
            del node.attribute[:]
            node.attribute.extend(kept)
            ends, padded = f"{node.output[0]}_pads", f"{node.output[0]}_padded"
            whole = [0, 0, *pads[:rank], 0, 0, *pads[rank:]]
            graph.initializer.append(onnx.numpy_helper.from_array(np.array(whole, np.int64), ends))
            nodes.append(helper.make_node("Pad", [node.input[0], ends], [padded]))
            node.input[0] = padded
        nodes.append(node)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    inner = {name for node in nodes for name in node.output}
    inner -= {output.name for output in graph.output}
    graph.value_info.extend(
        helper.make_tensor_value_info(name, int(helper.np_dtype_to_tensor_dtype(kind)), shape)
        for name, shape in seen.shapes.items()
        if name in inner and (kind := seen.types.get(name)) is not None
    )
    for given, shape in (
        *((value, feeds[value.name].shape) for value in graph.input),
        *((value, seen.shapes[value.name]) for value in graph.output),
    ):
        del given.type.tensor_type.shape.dim[:]
        for size in shape:
            given.type.tensor_type.shape.dim.add().dim_value = size
    return result


def copied(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy."""
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    return result


def copied_info(info: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """Return a copy that outlives its graph."""
    return onnx.ValueInfoProto.FromString(info.SerializeToString())


if __name__ == "__main__":
    main()
