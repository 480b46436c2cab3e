"""Write a transformer-like ONNX model with random weights in an external data file.

    python tools/make_large.py --out /tmp/large                       about 3.2 GB
    python tools/make_large.py --out /tmp/small --hidden 64 --blocks 2

Writes OUT/model.onnx, OUT/model.data and OUT/calibration.npz. The weights are written one tensor
at a time: memory stays at the largest tensor. Every block has Q, K, V, O and a perceptron of four
times the width, each a MatMul and an Add, with residual sums and LayerNormalization.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import BinaryIO

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

HEADS = 8
CLASSES = 16
WIDER = 4
ALIGNMENT = 4096
LEAST_EXTERNAL = 1024  # bytes; shapes must be inside for shape inference
OPSET = 17


class Writer:
    """Collects nodes and initializers; values go straight to the data file."""

    def __init__(self, file: BinaryIO, location: str, seed: int) -> None:
        self.file, self.location = file, location
        self.rng = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []

    def node(self, op: str, inputs: list[str], name: str, **attributes: object) -> str:
        """Add a node whose only output has its name; return that."""
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def tensor(self, name: str, values: np.ndarray) -> str:
        """Add an initializer, external unless it is small; return its name."""
        if values.nbytes < LEAST_EXTERNAL:
            self.tensors.append(numpy_helper.from_array(values, name))
            return name
        self.file.write(bytes(-self.file.tell() % ALIGNMENT))
        offset = self.file.tell()
        self.file.write(np.ascontiguousarray(values).data)
        tensor = TensorProto(name=name, dims=values.shape)
        tensor.data_type = helper.np_dtype_to_tensor_dtype(values.dtype)
        tensor.data_location = TensorProto.EXTERNAL
        places = {"location": self.location, "offset": offset, "length": values.nbytes}
        for key, value in places.items():
            tensor.external_data.add(key=key, value=str(value))
        self.tensors.append(tensor)
        return name

    def dense(self, x: str, name: str, rows: int, columns: int) -> str:
        """Add ``x @ W + b``."""
        weight = self.rng.standard_normal((rows, columns), dtype=np.float32)
        weight /= np.float32(np.sqrt(rows))
        product = self.node("MatMul", [x, self.tensor(f"{name}.w", weight)], f"{name}.matmul")
        bias = 0.1 * self.rng.standard_normal(columns, dtype=np.float32)
        return self.node("Add", [product, self.tensor(f"{name}.b", bias)], name)

    def norm(self, x: str, name: str, width: int) -> str:
        """Add a layer normalisation."""
        scale = self.tensor(f"{name}.scale", np.ones(width, np.float32))
        shift = self.tensor(f"{name}.shift", np.zeros(width, np.float32))
        return self.node("LayerNormalization", [x, scale, shift], name, axis=-1)


def add_attention(writer: Writer, x: str, name: str, hidden: int) -> str:
    """Add self-attention and return its output."""

    def heads(part: str, order: list[int]) -> str:
        made = writer.dense(x, f"{name}.{part}", hidden, hidden)
        cut = writer.node("Reshape", [made, "split"], f"{name}.{part}.heads")
        return writer.node("Transpose", [cut], f"{name}.{part}.turned", perm=order)

    query, key = heads("q", [0, 2, 1, 3]), heads("k", [0, 2, 3, 1])
    value = heads("v", [0, 2, 1, 3])
    product = writer.node("MatMul", [query, key], f"{name}.product")
    scores = writer.node("Mul", [product, "scale"], f"{name}.scores")
    shares = writer.node("Softmax", [scores], f"{name}.shares", axis=-1)
    mixed = writer.node("MatMul", [shares, value], f"{name}.mixed")
    back = writer.node("Transpose", [mixed], f"{name}.back", perm=[0, 2, 1, 3])
    joined = writer.node("Reshape", [back, "join"], f"{name}.joined")
    return writer.dense(joined, f"{name}.o", hidden, hidden)


def add_block(writer: Writer, x: str, name: str, hidden: int) -> str:
    """Add attention and perceptron, each with its residual sum."""
    normed = writer.norm(x, f"{name}.norm1", hidden)
    attended = add_attention(writer, normed, name, hidden)
    x = writer.node("Add", [x, attended], f"{name}.sum1")
    normed = writer.norm(x, f"{name}.norm2", hidden)
    up = writer.dense(normed, f"{name}.up", hidden, WIDER * hidden)
    active = writer.node("Relu", [up], f"{name}.relu")
    down = writer.dense(active, f"{name}.down", WIDER * hidden, hidden)
    return writer.node("Add", [x, down], f"{name}.sum2")


def make_model(out: Path, hidden: int, blocks: int, tokens: int, seed: int) -> Path:
    """Write model.onnx and model.data into `out`; return the path of the model."""
    with (out / "model.data").open("wb") as file:
        writer = Writer(file, "model.data", seed)
        writer.tensor("split", np.array([0, tokens, HEADS, hidden // HEADS]))
        writer.tensor("join", np.array([0, tokens, hidden]))
        writer.tensor("scale", np.array((hidden / HEADS) ** -0.5, np.float32))
        x = "x"
        for block in range(blocks):
            x = add_block(writer, x, f"block{block}", hidden)
        writer.dense(writer.norm(x, "norm", hidden), "y", hidden, CLASSES)
    make = helper.make_tensor_value_info
    graph = helper.make_graph(
        writer.nodes,
        "transformer",
        [make("x", TensorProto.FLOAT, ["n", tokens, hidden])],
        [make("y", TensorProto.FLOAT, ["n", tokens, CLASSES])],
        writer.tensors,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path = out / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def make_data(out: Path, hidden: int, tokens: int, samples: int, seed: int) -> Path:
    """Write random calibration inputs."""
    rng = np.random.default_rng([seed, 1])
    path = out / "calibration.npz"
    np.savez(path, x=rng.standard_normal((samples, tokens, hidden), dtype=np.float32))
    return path


def main() -> None:
    """Read the options and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--blocks", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = make_model(options.out, options.hidden, options.blocks, options.tokens, options.seed)
    make_data(options.out, options.hidden, options.tokens, options.samples, options.seed)
    size = sum(file.stat().st_size for file in options.out.iterdir())
    print(f"{path}: {size / 1e9:.2f} GB with data")


if __name__ == "__main__":
    main()
