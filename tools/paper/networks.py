"""Opens the networks of the paper's tables and MNIST, and measures errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from onnx_lobs.arrays import Array, BoolArray

MODELS = Path(__file__).parents[2] / "models" / "mnist"
DATA = Path("../shared/data")
INPUT, OUTPUT = "image", "logits"
LENET_300, LENET_5 = "LeNet-300-100", "LeNet-5"
AUTHORS, OURS = "authors", "ours"
DENSE_NETWORKS = ((LENET_300, AUTHORS), (LENET_300, OURS), (LENET_5, OURS))  # all that there are
FC = ("fc1", "fc2", "fc3")
BATCH = 1000


@dataclass(frozen=True, eq=False)
class Mnist:
    """Images (n, 1, 28, 28), float32 in [0, 1], and labels (n,); the folder that holds them."""

    images: Array
    labels: Array
    test_images: Array
    test_labels: Array
    folder: Path = DATA

    @classmethod
    def read(cls, folder: Path = DATA) -> Mnist:
        """Read ``mnist.npz`` of a folder; ``tools/train_mnist.py --help`` says what it is."""
        with np.load(folder / "mnist.npz", allow_pickle=False) as stored:
            images, labels, test_images, test_labels = (
                stored[key] for key in ("x_train", "y_train", "x_test", "y_test")
            )
        scale = np.float32(1 / 255)
        return cls(
            images[:, None] * scale,
            labels.astype(np.int64),
            test_images[:, None] * scale,
            test_labels.astype(np.int64),
            folder,
        )


def perceptron(weights: Mapping[str, Array]) -> onnx.ModelProto:
    """Return LeNet-300-100 with `fc1.weight` (outputs, inputs), `fc1.bias` and so on."""
    nodes = [helper.make_node("Flatten", [INPUT], ["flat"], name="flatten", axis=1)]
    source = "flat"
    for name in FC:
        last = name == FC[-1]
        linear = OUTPUT if last else f"{name}.out"
        inputs = [source, f"{name}.weight", f"{name}.bias"]
        nodes.append(helper.make_node("Gemm", inputs, [linear], name=name, transB=1))
        source = f"{name}.relu"
        if not last:
            nodes.append(helper.make_node("Relu", [linear], [source], name=f"relu_{name}"))
    tensors = [numpy_helper.from_array(np.ascontiguousarray(w), n) for n, w in weights.items()]
    image = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", 1, 28, 28])
    logits = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(nodes, "lenet-300-100", [image], [logits], initializer=tensors)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def authors_lenet_300(folder: Path = DATA) -> onnx.ModelProto:
    """Return LeNet-300-100 with the dense weights that the paper's authors published."""
    with np.load(folder / "lobs_lenet_300_100.npz", allow_pickle=False) as stored:
        weights = {}
        for number, name in enumerate(FC, 1):
            weights[f"{name}.weight"] = stored[f"w{number}"].T.astype(np.float32)
            weights[f"{name}.bias"] = stored[f"b{number}"].astype(np.float32)
    return perceptron(weights)


def dense_network(network: str, origin: str, folder: Path = DATA) -> onnx.ModelProto:
    """Return a dense network: LENET_300 or LENET_5 of AUTHORS (not LeNet-5) or OURS."""
    if origin == AUTHORS:
        if network != LENET_300:
            raise ValueError(f"the authors' {network} is not published; their LeNet-300-100 is")
        return authors_lenet_300(folder)
    return onnx.load(MODELS / f"{network.lower()}.onnx")


def tensors_of(model: onnx.ModelProto) -> dict[str, Array]:
    """Return the constants of a model by name."""
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def with_tensors(model: onnx.ModelProto, values: Mapping[str, Array]) -> onnx.ModelProto:
    """Return a copy with other values of some constants."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name in values:
            array = np.ascontiguousarray(values[tensor.name], dtype=np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return copy


def weight_names(model: onnx.ModelProto) -> list[str]:
    """Return the names of the layers' weights, in order."""
    return [t.name for t in model.graph.initializer if len(t.dims) > 1]


def kept_share(model: onnx.ModelProto) -> float:
    """Return the share of weights that are not zero, biases left out: the paper's CR."""
    values = tensors_of(model)
    weights = [values[name] for name in weight_names(model)]
    return sum(np.count_nonzero(w) for w in weights) / sum(w.size for w in weights)


def masks_of(model: onnx.ModelProto) -> dict[str, BoolArray]:
    """Return where the weights are not zero, by name."""
    values = tensors_of(model)
    return {name: values[name] != 0 for name in weight_names(model)}


def run_on(model: onnx.ModelProto, images: Array, value: str = OUTPUT) -> Array:
    """Return a value of the network on images, an output or not, computed by onnxruntime."""
    shown = model
    if value not in {output.name for output in model.graph.output}:
        shown = onnx.ModelProto()
        shown.CopyFrom(model)
        shown.graph.output.append(onnx.ValueInfoProto(name=value))
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        shown.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    starts = range(0, len(images), BATCH)
    return np.concatenate([session.run([value], {INPUT: images[s : s + BATCH]})[0] for s in starts])


def test_error(model: onnx.ModelProto, mnist: Mnist) -> float:
    """Return the share of wrong answers on the test images, in per cent."""
    scores = run_on(model, mnist.test_images)
    return 100 * float((scores.argmax(1) != mnist.test_labels).mean())
