"""Makes broken and hostile inputs from sound ones, each by its number: same number, same input."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from build_onnx import branch, model, normal, value
from google.protobuf.descriptor import FieldDescriptor as Kind
from onnx import ModelProto, TensorProto, helper, numpy_helper

NODE = helper.make_node
INTEGERS = (-(2**63), -(2**31), -7, -1, 0, 1, 2, 3, 64, 2**31 - 1, 2**40, 2**62)
TEXTS = (b"", b"x", b"w", b"gr\xf6\xdfe", b"a\0b", b"x" * 300, b"../x", b"/dev/zero", b"ai.onnx")
FLOATS = (0.0, -1.0, 1e38, float("nan"), float("inf"))
REAL = (Kind.TYPE_FLOAT, Kind.TYPE_DOUBLE)
WHOLE = (Kind.TYPE_INT32, Kind.TYPE_INT64, Kind.TYPE_UINT64)
MARK = "MARK{:04d}MARK"  # stands for bytes that no setter takes

Place = tuple[Any, Any, int | None]


def dense() -> ModelProto:
    nodes = [
        NODE("Gemm", ["x", "w", "b"], ["h"], transB=1, name="one"),
        NODE("Relu", ["h"], ["r"]),
        NODE("Transpose", ["v"], ["t"], perm=[1, 0]),
        NODE("MatMul", ["r", "t"], ["y"], name="two"),
    ]
    weights = {"w": normal(1, 8, 6), "b": normal(2, 8), "v": normal(3, 4, 8)}
    return model(nodes, [value("x", ["N", 6])], [value("y", ["N", 4])], weights)


def convolution() -> ModelProto:
    nodes = [
        NODE("Conv", ["x", "w"], ["h"], pads=[1, 1, 1, 1], strides=[1, 1], kernel_shape=[3, 3]),
        NODE("Relu", ["h"], ["r"]),
        NODE("ConvTranspose", ["r", "v"], ["t"], strides=[2, 2], output_padding=[1, 1], group=2),
        NODE("Flatten", ["t"], ["y"]),
    ]
    weights = {"w": normal(1, 4, 2, 3, 3), "v": normal(2, 4, 3, 3, 3)}
    return model(nodes, [value("x", ["N", 2, 5, 5])], [value("y", ["N", None])], weights)


def branches() -> ModelProto:
    taken = branch([NODE("MatMul", ["x", "w"], ["a"])], "a", w=normal(1, 6, 5))
    other = branch([NODE("MatMul", ["x", "v"], ["b"])], "b")
    nodes = [NODE("If", ["c"], ["y"], then_branch=taken, else_branch=other)]
    weights = {"v": normal(2, 6, 5), "c": np.array(True)}
    return model(nodes, [value("x", ["N", 6])], [value("y", ["N", 5])], weights)


def sparse() -> ModelProto:
    proto = model(
        [NODE("Reshape", ["w", "s"], ["r"]), NODE("MatMul", ["x", "r"], ["y"])],
        [value("x", ["N", 6])], [value("y", ["N", 4])],
        {"w": normal(1, 24), "s": np.array([6, 4])},
    )  # fmt: skip
    stored = proto.graph.initializer.pop(0)
    indices = numpy_helper.from_array(np.arange(24), "w_indices")
    entry = helper.make_sparse_tensor(stored, indices, [24])
    proto.graph.sparse_initializer.append(entry)
    return proto


def contracted() -> ModelProto:
    nodes = [
        NODE("Einsum", ["x", "w"], ["h"], equation="nd,dhk->nhk"),
        NODE("Einsum", ["h", "v"], ["y"], equation="nhk,hkm->nm"),
    ]
    weights = {"w": normal(1, 6, 2, 3), "v": normal(2, 2, 3, 5)}
    return model(nodes, [value("x", ["N", 6])], [value("y", ["N", 5])], weights)


def recurrent() -> ModelProto:
    nodes = [
        NODE("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        NODE("LSTM", ["t", "w", "r", "b"], ["h"], hidden_size=4, direction="forward"),
        NODE("Squeeze", ["h", "one"], ["s"]),
        NODE("GRU", ["s", "v", "q"], ["", "y"], hidden_size=3),
    ]
    weights = {
        "w": normal(1, 1, 16, 6), "r": normal(2, 1, 16, 4), "b": normal(3, 1, 32),
        "v": normal(4, 1, 9, 4), "q": normal(5, 1, 9, 3), "one": np.array([1]),
    }  # fmt: skip
    return model(nodes, [value("x", ["N", 5, 6])], [value("y", [1, "N", 3])], weights)


def looped() -> ModelProto:
    step = onnx.helper.make_graph(
        [
            NODE("Identity", ["c"], ["d"]),
            NODE("MatMul", ["s", "w"], ["m"]),
            NODE("Tanh", ["m"], ["n"]),
        ],
        "body",
        [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL), value("s", ["N", 6])],
        [value("d", [], TensorProto.BOOL), value("n", ["N", 6])],
    )
    nodes = [NODE("Loop", ["k", "t", "x"], ["y"], body=step)]
    weights = {"w": normal(1, 6, 6), "k": np.array(3), "t": np.array(True)}
    return model(nodes, [value("x", ["N", 6])], [value("y", ["N", 6])], weights)


def scanned() -> ModelProto:
    step = onnx.helper.make_graph(
        [NODE("MatMul", ["p", "w"], ["m"]), NODE("Add", ["s", "m"], ["n"]),
         NODE("Identity", ["n"], ["o"])],
        "body",
        [value("s", [2, 6]), value("p", [2, 6])],
        [value("n", [2, 6]), value("o", [2, 6])],
    )  # fmt: skip
    nodes = [
        NODE("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        NODE("Scan", ["z", "t"], ["e", "y"], body=step, num_scan_inputs=1),
    ]
    weights = {"w": normal(1, 6, 6), "z": np.zeros((2, 6), np.float32)}
    return model(nodes, [value("x", [2, 3, 6])], [value("y", [3, 2, 6])], weights)


def called() -> ModelProto:
    opsets = [helper.make_opsetid("", 17)]
    body = [NODE("MatMul", ["a", "b"], ["c"]), NODE("Relu", ["c"], ["e"])]
    function = helper.make_function("own", "Dense", ["a", "b"], ["e"], body, opsets)
    nodes = [
        NODE("Dense", ["x", "w"], ["h"], domain="own"),
        NODE("Dense", ["h", "v"], ["y"], domain="own"),
    ]
    weights = {"w": normal(1, 6, 5), "v": normal(2, 5, 4)}
    inputs, outputs = [value("x", ["N", 6])], [value("y", ["N", 4])]
    return model(nodes, inputs, outputs, weights, domains=["own"], functions=[function])


BASES: tuple[Callable[[], ModelProto], ...] = (
    dense, convolution, branches, sparse, contracted, recurrent, looped, scanned, called,
)  # fmt: skip


def model_bytes(number: int) -> bytes:
    """Return a model of which one to three places were changed, and at times some bytes."""
    rng = random.Random(number)
    proto = BASES[number % len(BASES)]()
    if rng.random() < 0.7:  # still a model for onnx's checker, which looks at no shapes
        for _ in range(rng.choice((1, 2, 3))):
            rng.choice((twist_weight, twist_type, twist_node, twist_attribute, twist_wire))(
                proto, rng
            )
        return bytes(proto.SerializeToString())
    marks: dict[bytes, bytes] = {}
    for _ in range(rng.choice((1, 1, 2, 3))):
        change(proto, rng, marks)
    data = bytes(proto.SerializeToString())
    for mark, text in marks.items():
        data = data.replace(mark, text[: len(mark)].ljust(len(mark), b"x"))
    return broken(data, rng) if rng.random() < 0.25 else data


def twist_weight(proto: ModelProto, rng: random.Random) -> None:
    """Give a weight other values, or another shape that holds as many or as few."""
    if not proto.graph.initializer:
        return
    tensor = rng.choice(list(proto.graph.initializer))
    array = numpy_helper.to_array(tensor).copy()
    if not array.size:
        return
    kind = rng.choice(("values", "flat", "scalar", "empty", "long", "deep", "turned"))
    if kind == "values" and array.dtype.kind == "f":
        array.reshape(-1)[rng.randrange(array.size)] = rng.choice(FLOATS)
    elif kind == "values":
        array = np.full_like(array, rng.choice((0, 3, 100)))
    shapes = {
        "flat": (-1,), "scalar": (), "empty": (0, 3), "long": (1, -1),
        "deep": (1,) * rng.choice((5, 12, 30)) + (-1,), "turned": array.shape[::-1],
    }  # fmt: skip
    size = {"scalar": 1, "empty": 0}.get(kind, array.size)
    new = array.reshape(-1)[:size].reshape(shapes.get(kind, array.shape))
    tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))


def twist_type(proto: ModelProto, rng: random.Random) -> None:
    """Store a weight in another type; the inputs take that type too, or not."""
    if not proto.graph.initializer:
        return
    tensor = rng.choice(list(proto.graph.initializer))
    dtype = rng.choice((np.float16, np.float64, np.int64, np.int8, np.bool_, np.complex64))
    with np.errstate(over="ignore", invalid="ignore"):
        array = np.real(numpy_helper.to_array(tensor)).astype(dtype)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    if rng.random() < 0.5:
        for info in (*proto.graph.input, *proto.graph.output):
            info.type.tensor_type.elem_type = tensor.data_type


def twist_node(proto: ModelProto, rng: random.Random) -> None:
    """Make another operator of a node, or put one before it, many times perhaps."""
    node = rng.choice(list(proto.graph.node))
    ops = ("MatMul", "Gemm", "Conv", "ConvTranspose", "Relu", "Transpose", "Identity", "Flatten")
    if rng.random() < 0.5:
        node.op_type = rng.choice(ops)
        return
    if not node.input:
        return
    at = rng.randrange(len(node.input))
    op = rng.choice(("Identity", "Transpose", "Flatten", "Relu", "Squeeze"))
    made = []
    for _ in range(rng.choice((1, 2, 1100))):
        name = f"twist{len(made)}_{node.output[0]}"
        made.append(NODE(op, [node.input[at]], [name]))
        node.input[at] = name
    nodes = list(proto.graph.node)
    index = nodes.index(node)
    kept = [*nodes[:index], *made, *nodes[index:]]
    copies = [onnx.NodeProto.FromString(one.SerializeToString()) for one in kept]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)


def twist_attribute(proto: ModelProto, rng: random.Random) -> None:
    """Change, drop or add an attribute of a node."""
    node = rng.choice(list(proto.graph.node))
    numbers = [rng.choice((-1, 0, 1, 2, 3, 7, 2**31, 2**62)) for _ in range(rng.choice((1, 2, 4)))]
    names = {
        "Conv": ("pads", "strides", "dilations", "kernel_shape"),
        "ConvTranspose": ("pads", "strides", "dilations", "output_padding", "output_shape"),
        "Transpose": ("perm",),
    }
    singles = {"Conv": "group", "ConvTranspose": "group", "Gemm": "transA", "Flatten": "axis"}
    if node.op_type in names and rng.random() < 0.7:
        new = helper.make_attribute(rng.choice(names[node.op_type]), numbers)
    elif node.op_type in singles:
        new = helper.make_attribute(singles[node.op_type], numbers[0])
    else:
        return
    rest = [a for a in node.attribute if a.name != new.name]
    del node.attribute[:]
    node.attribute.extend([*rest, new])


def twist_wire(proto: ModelProto, rng: random.Random) -> None:
    """Let a node read another value, or let the input have another shape."""
    node = rng.choice(list(proto.graph.node))
    names = [tensor.name for tensor in proto.graph.initializer] + ["x"]
    if node.input and rng.random() < 0.6:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
        return
    shape = proto.graph.input[0].type.tensor_type.shape
    if shape.dim and rng.random() < 0.8:
        shape.dim[rng.randrange(len(shape.dim))].dim_value = rng.choice((0, 1, 5, 6, 2**33, 2**62))
    else:
        proto.graph.input[0].type.tensor_type.ClearField("shape")


def change(proto: ModelProto, rng: random.Random, marks: dict[bytes, bytes]) -> None:
    """Change one field, of one entry, somewhere in a message."""
    found = places(proto)
    message, field, index = found[rng.randrange(len(found))]
    if index is not None and rng.random() < 0.3:
        entries = getattr(message, field.name)
        if rng.random() < 0.5:
            del entries[index]
        else:
            entries.extend([entries[index]] * rng.choice((1, 40)))
        return
    if field.type == Kind.TYPE_MESSAGE:
        if index is None:
            message.ClearField(field.name)
        return
    mark = MARK.format(len(marks))
    new: Any = {Kind.TYPE_BYTES: rng.choice(TEXTS), Kind.TYPE_STRING: mark}.get(field.type)
    if field.type == Kind.TYPE_STRING:
        marks[mark.encode()] = rng.choice(TEXTS)
    elif field.type in REAL:
        new = rng.choice(FLOATS)
    elif field.type == Kind.TYPE_ENUM:
        new = rng.choice(sorted(field.enum_type.values_by_number))
    elif field.type in WHOLE:
        new = rng.choice(INTEGERS)
        if field.type != Kind.TYPE_INT64:
            new = abs(new) % 2**31
    if index is None:
        setattr(message, field.name, new)
    else:
        getattr(message, field.name)[index] = new


def places(message: Any) -> list[Place]:
    """Return every field that is set, and each entry of those that are lists."""
    found: list[Place] = []
    for field, held in message.ListFields():
        entries = list(enumerate(held)) if is_list(held) else [(None, held)]
        for index, one in entries[:40]:
            found.append((message, field, index))
            if field.type == Kind.TYPE_MESSAGE:
                found += places(one)
    return found


def is_list(held: object) -> bool:
    return not isinstance(held, (str, bytes)) and hasattr(held, "__len__")


def broken(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes with some of them changed, left out, or doubled."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        at = rng.randrange(len(changed) or 1)
        step = rng.choice((1, 4, 64))
        kind = rng.choice(("flip", "set", "cut", "double", "zero"))
        if kind == "flip" and changed:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == "set" and changed:
            changed[at] = rng.choice((0, 127, 128, 255))
        elif kind == "cut":
            del changed[at : at + step]
        elif kind == "double":
            changed[at:at] = changed[at : at + step]
        else:
            changed[at : at + step] = bytes(len(changed[at : at + step]))
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.15 else changed)


def external_model(folder: Path, number: int) -> Path:
    """Write a model whose weight lies in a file, and what the model says of it is not so."""
    rng = random.Random(number)
    proto = dense()
    tensor = proto.graph.initializer[0]
    (folder / "w.bin").write_bytes(tensor.raw_data + bytes(64))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": "w.bin", "offset": "0", "length": "192"}
    numbers = ("-1", "1", "9" * 30, "9" * 5000, "0x10", "", "1e3", str(2**63), "193")
    locations = (
        "", ".", "..", "/dev/zero", "pipe", "circle", "folder", "../x", "w.bin/", "C:\\w.bin",
        "a\0b", "x" * 300, "y/" * 3000, "größe", "missing", "out", "zero", "m.onnx", "x.npz",
    )  # fmt: skip
    for _ in range(rng.choice((1, 2))):
        key = rng.choice(("location", "location", "offset", "length"))
        entries[key] = rng.choice(locations if key == "location" else numbers)
    if rng.random() < 0.3:
        tensor.dims[rng.randrange(2)] = rng.choice(INTEGERS)
    for key, text in entries.items():
        if rng.random() < 0.95:
            tensor.external_data.add(key=key, value=text)
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def data_file(folder: Path, number: int) -> Path:
    """Write calibration data that are broken, or no data at all."""
    rng = random.Random(number)
    x = normal(number, 12, 6)
    kind = rng.choice(("npz", "npz", "packed", "npy", "header", "folder", "other"))
    path = folder / ("x.npy" if kind == "npy" else "x.npz")
    if kind == "folder":
        path = folder / "test_data_set_0"
        path.mkdir(exist_ok=True)
        tensor = numpy_helper.from_array(x, "x").SerializeToString()
        (path / "input_0.pb").write_bytes(broken(tensor, rng))
        return path
    if kind == "other":
        return folder / rng.choice(("pipe", "zero", "circle", "missing.npz", "m.onnx", "x" * 300))
    if kind == "npy":
        np.save(path, x)
    elif kind == "header":
        np.savez(path, x=x)
        data = path.read_bytes()
        shapes = (b"(99, 6)", b"(-1, 6)", b"(12, 0)", b"((1), 6)", b"(12, 6", b"(9**9, 6)")
        new = b"'shape': " + rng.choice(shapes)
        path.write_bytes(data.replace(b"'shape': (12, 6)", new.ljust(16)[:16]))
        return path
    else:
        save = np.savez if kind == "npz" else np.savez_compressed
        save(path, x=x, label=np.arange(12) % 4)
    path.write_bytes(broken(path.read_bytes(), rng))
    return path


def surroundings(folder: Path) -> None:
    """Put into a folder what a hostile model or option may name."""
    import os

    os.mkfifo(folder / "pipe")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "circle").symlink_to("circle")
    (folder / "out").symlink_to(folder.parent)
    (folder / "folder").mkdir()
    onnx.save(dense(), folder / "sound.onnx")
    np.savez(folder / "sound.npz", x=normal(1, 12, 6))
