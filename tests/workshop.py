"""Lays out the folder of a new user: small models, data good and bad, for uses right and wrong."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import onnx
from build_onnx import model, normal, run, value
from kinds_of_samples import dense_network, write_samples
from onnx import ModelProto, TensorProto, helper

from onnx_lobs.arrays import Array

NODE = helper.make_node
WIDTH, CLASSES, N = 8, 8, 48


def write_workshop(folder: Path) -> None:
    """Write models and data into an empty folder.

    ``m.onnx`` takes features [N, 8] and gives 8 scores; ``good.npz`` fits it, ``labelled.npz`` has
    labels that it gets right nine times of ten. The other names say what is odd.
    """
    write_samples(folder)
    onnx.save(dense_network("features", WIDTH), folder / "m.onnx")
    features = normal(0, N, WIDTH)
    np.savez(folder / "good.npz", features=features)
    np.savez(folder / "one.npz", features=features[:1])
    np.savez(folder / "zero.npz", features=np.zeros_like(features))
    np.savez(folder / "same.npz", features=np.repeat(features[:1], N, axis=0))
    np.savez(folder / "narrow.npz", features=features[:, :5])
    labels = _answers(features)
    for name, wrong in _wrong_labels(labels).items():
        np.savez(folder / f"{name}.npz", features=features, label=wrong)
    onnx.save(image_network(), folder / "image.onnx")
    onnx.save(image_network(channels=4), folder / "four.onnx")
    onnx.save(quantised_network(), folder / "int8.onnx")
    onnx.save(quantised_network(dynamic=True), folder / "dynamic.onnx")
    onnx.save(sure_network(), folder / "sure.onnx")
    pixels = np.random.default_rng(5).integers(0, 256, (N, WIDTH)).astype(np.float32)
    np.savez(folder / "pixels.npz", features=pixels)
    onnx.save(stateful_network(), folder / "state.onnx")
    np.savez(
        folder / "states.npz", x=features, state=normal(6, 2, N, 4), rate=np.array(2, np.int64)
    )
    onnx.save(fourier_network(), folder / "fourier.onnx")
    onnx.save(long_names(), folder / "names.onnx")
    _write_strangers(folder)
    (folder / "empty").mkdir()
    (folder / "notes.md").write_text("# not a model\n")
    (folder / "short.csv").write_text("a,b,c\n1,2,3\n4,5,6\n")
    (folder / "mixed").mkdir()
    for path in [*sorted((folder / "pictures").iterdir())[:4], folder / "texts.txt"]:
        (folder / "mixed" / path.name).write_bytes(path.read_bytes())
    for place in ("strange/hot", "strange/cold"):
        (folder / place).mkdir(parents=True)
        (folder / place / "0.jpg").write_bytes((folder / "pictures" / "0.jpg").read_bytes())
    (folder / "typo.toml").write_text("sparsty = 0.5\n")


def _write_strangers(folder: Path) -> None:
    """Write files of models that are not ONNX."""
    for name, inside in {
        "net.pt": "net/data.pkl", "net.keras": "model.weights.h5", "net.zip": "net/model.onnx",
    }.items():  # fmt: skip
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(inside, b"")
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    (folder / "net.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    (folder / "net.tflite").write_bytes(b"\x1c\0\0\0TFL3\x14\0")
    (folder / "net.h5").write_bytes(b"\x89HDF\r\n\x1a\n\0")
    (folder / "net.mlmodel").write_bytes(b"\x08\x04\x12\x08\n\x06\n\x01x")
    (folder / "cut.onnx").write_bytes((folder / "m.onnx").read_bytes()[:200])


def _answers(features: Array) -> Array:
    """Return the classes that the network of ``m.onnx`` gives, a tenth of them wrong."""
    scores = run(dense_network("features", WIDTH), features=features)["scores"]
    labels = scores.argmax(axis=1)
    labels[::10] = (labels[::10] + 1) % CLASSES
    return labels


def _wrong_labels(labels: Array) -> dict[str, Array]:
    return {
        "labelled": labels,
        "flipped": (labels + 3) % CLASSES,
        "one_too_high": labels + 1,
        "one_hot": np.eye(CLASSES, dtype=np.float32)[labels],
    }


def image_network(channels: int = 3) -> ModelProto:
    """Return a classifier of pictures of 12 x 12."""
    nodes = [
        NODE("Conv", ["image", "w1"], ["h"], name="conv"),
        NODE("Relu", ["h"], ["r"]),
        NODE("GlobalAveragePool", ["r"], ["p"]),
        NODE("Flatten", ["p"], ["f"]),
        NODE("Gemm", ["f", "w2"], ["scores"], name="fc", transB=1),
    ]
    weights = {"w1": normal(1, 8, channels, 3, 3), "w2": normal(2, 10, 8)}
    shape = ["N", channels, 12, 12]
    return model(nodes, [value("image", shape)], [value("scores", ["N", 10])], weights)


def quantised_network(*, dynamic: bool = False) -> ModelProto:
    """Return a network whose first weight is int8, behind DequantizeLinear or MatMulInteger."""
    rng = np.random.default_rng(3)
    weight = rng.integers(-127, 128, (WIDTH, 256)).astype(np.int8)
    weight[:, ::2] = 0
    weights = {"w1": weight, "w2": normal(4, 256, 2)}
    if not dynamic:
        weights["s"] = np.float32(0.01).reshape(())
        nodes = [
            NODE("DequantizeLinear", ["w1", "s"], ["d"]),
            NODE("MatMul", ["features", "d"], ["h"], name="fc1"),
            NODE("ReduceMean", ["h"], ["y"], axes=[1]),
        ]
        del weights["w2"]
        out = value("y", ["N", 1])
    else:
        nodes = [
            NODE("DynamicQuantizeLinear", ["features"], ["q", "qs", "qz"]),
            NODE("MatMulInteger", ["q", "w1", "qz"], ["i"]),
            NODE("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
            NODE("Mul", ["f", "qs"], ["h"]),
            NODE("MatMul", ["h", "w2"], ["y"], name="fc2"),
        ]
        out = value("y", ["N", 2])
    return model(nodes, [value("features", ["N", WIDTH])], [out], weights)


def sure_network() -> ModelProto:
    """Return a classifier of values from -1 to 1 that ends in Softmax."""
    nodes = [
        NODE("MatMul", ["features", "w"], ["h"], name="fc"),
        NODE("Softmax", ["h"], ["y"], axis=1),
    ]
    inputs = [value("features", ["N", WIDTH])]
    return model(nodes, inputs, [value("y", ["N", CLASSES])], {"w": 20 * normal(7, WIDTH, CLASSES)})


def stateful_network() -> ModelProto:
    """Return a network with the batch on axis 1 of its state, and a scalar input."""
    nodes = [
        NODE("MatMul", ["x", "w1"], ["h"], name="fc1"),
        NODE("Gather", ["state", "first"], ["s"], axis=0),
        NODE("Concat", ["h", "s"], ["c"], axis=1),
        NODE("MatMul", ["c", "w2"], ["m"], name="fc2"),
        NODE("Cast", ["rate"], ["r"], to=TensorProto.FLOAT),
        NODE("Mul", ["m", "r"], ["y"]),
    ]
    inputs = [
        value("x", ["batch", WIDTH]),
        value("state", [2, "batch", 4]),
        value("rate", [], TensorProto.INT64),
    ]
    weights = {
        "w1": normal(8, WIDTH, 16), "w2": normal(9, 20, CLASSES), "first": np.array(0, np.int64),
    }  # fmt: skip
    return model(nodes, inputs, [value("y", ["batch", CLASSES])], weights)


def fourier_network() -> ModelProto:
    """Return a network whose first weight is a Fourier transform."""
    n = 64
    angles = 2 * np.pi * np.outer(np.arange(n), np.arange(n // 2 + 1)) / n
    basis = np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    nodes = [
        NODE("MatMul", ["audio", "basis"], ["h"], name="dft"),
        NODE("Mul", ["h", "h"], ["p"]),
        NODE("MatMul", ["p", "w"], ["y"], name="fc"),
    ]
    weights = {"basis": basis, "w": normal(10, basis.shape[1], CLASSES)}
    return model(nodes, [value("audio", ["N", n])], [value("y", ["N", CLASSES])], weights)


def long_names() -> ModelProto:
    """Return a network of layers whose long names differ in the middle."""
    heads = [f"/encoder/very/long/scope/of/the/exporter/block.{i}/attention/MatMul" for i in (1, 2)]
    nodes = [
        NODE("MatMul", ["features", "w1"], ["h"], name=heads[0]),
        NODE("MatMul", ["h", "w2"], ["y"], name=heads[1]),
    ]
    weights = {"w1": normal(11, WIDTH, 16), "w2": normal(12, 16, CLASSES)}
    inputs = [value("features", ["N", WIDTH])]
    return model(nodes, inputs, [value("y", ["N", CLASSES])], weights)
