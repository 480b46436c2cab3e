"""A model is read without its external data, and what is wrong with it is said in one line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf.message import EncodeError
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files import load
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.sparse import make_dense
from onnx_lobs.graph.files.tensors import read_tensor
from onnx_lobs.graph.files.walk import iter_tensors

W = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
X = np.random.default_rng(1).standard_normal((2, 8)).astype(np.float32)


def sparse_weight(name: str) -> onnx.SparseTensorProto:
    """The first and last of the weights in W, all others zero."""
    index = helper.make_tensor("", TensorProto.INT64, [2], [0, W.size - 1])
    value = numpy_helper.from_array(W.reshape(-1)[[0, -1]], name)
    return helper.make_sparse_tensor(value, index, W.shape)


def make_model(**options: object) -> ModelProto:
    """y = x @ w (tied, twice) + k (Constant node), with v sparse, and u sparse in a branch."""
    scalar = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("MatMul", ["x", "u"], ["b"])], "g", [], [scalar])
    branch.sparse_initializer.append(sparse_weight("u"))
    nodes = [
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(W[:1], "k")),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("MatMul", ["x", "w"], ["q"]),
        helper.make_node("MatMul", ["x", "v"], ["r"]),
        helper.make_node("If", ["c"], ["s"], then_branch=branch, else_branch=branch),
        helper.make_node("Sum", ["p", "q", "r", "s", "k"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(W, "w")],
        sparse_initializer=[sparse_weight("v")],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, **{"opset_imports": [opset], "ir_version": 8, **options})


def save_external(path: Path) -> ModelProto:
    """Write the model with w in w.data at byte 64."""
    model = make_model()
    (path.parent / "w.data").write_bytes(bytes(64) + W.tobytes())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.data", "offset": 64, "length": W.nbytes}.items():
        tensor.external_data.add(key=key, value=str(value))
    path.write_bytes(model.SerializeToString())
    return model


def set_entry(model: ModelProto, key: str, value: object) -> None:
    entry = next(e for e in model.graph.initializer[0].external_data if e.key == key)
    entry.value = str(value)


def run(source: bytes | str) -> np.ndarray:
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": X})[0]


def test_path_bytes_and_proto_give_the_same_model(tmp_path: Path) -> None:
    model = make_model()
    data = model.SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    by_path = load_model(path)
    assert (by_path.path, by_path.folder) == (path, tmp_path)
    for source in (data, model, str(path)):
        loaded = load_model(source)
        assert loaded.proto == by_path.proto
        if not isinstance(source, str):
            assert loaded.path is None
            assert loaded.folder is None
    assert model.SerializeToString() == data


def test_sparse_initializers_become_dense_in_every_graph() -> None:
    model = make_model()
    loaded = load_model(model).proto
    assert [tensor.name for tensor in loaded.graph.initializer] == ["w", "v"]
    assert not any(t.name == "" and t.data_type == TensorProto.INT64 for t in iter_tensors(loaded))
    onnx.checker.check_model(loaded, full_check=True)
    np.testing.assert_array_equal(run(loaded.SerializeToString()), run(model.SerializeToString()))


def test_all_else_stays_as_it_is() -> None:
    model = make_model(producer_name="p", doc_string="d", functions=[])
    model.metadata_props.add(key="k", value="v")
    model.graph.ClearField("sparse_initializer")
    del model.graph.node[4:6]
    model.graph.node[-1].input[:] = ["p", "q", "k"]
    assert load_model(model).proto.SerializeToString() == model.SerializeToString()


def test_weight_that_is_a_graph_input_too_is_left_so() -> None:
    model = make_model()
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, W.shape))
    assert [value.name for value in load_model(model).proto.graph.input] == ["x", "w"]


def test_external_data_stay_external(tmp_path: Path) -> None:
    save_external(tmp_path / "m.onnx")
    loaded = load_model(tmp_path / "m.onnx")
    tensor = loaded.proto.graph.initializer[0]
    assert tensor.data_location == TensorProto.EXTERNAL
    assert not tensor.HasField("raw_data")
    np.testing.assert_array_equal(read_tensor(tensor, loaded.folder), W)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.onnx", None, "missing.onnx does not exist; check the path"),
        ("folder", "folder", "folder is a folder; give the path of the .onnx file"),
        ("empty.onnx", b"", r"empty.onnx is empty \(0 bytes\)"),
        ("text.onnx", b"just some text", "text.onnx is a text file; give the .onnx file"),
        ("cut.onnx", make_model().SerializeToString()[:-9], "cut.onnx is no ONNX model, or is cut"),
        ("blank.onnx", b"\x08\x07", "blank.onnx is no ONNX model: it has no graph"),
        ("x" * 300, None, "cannot be read"),
    ],
)
def test_file_that_is_no_model_is_refused(
    tmp_path: Path, name: str, content: bytes | str | None, message: str
) -> None:
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_empty_bytes_are_refused() -> None:
    with pytest.raises(ModelError, match=r"the model given is empty"):
        load_model(b"")


def test_file_beyond_the_limit_of_protobuf_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.onnx").write_bytes(make_model().SerializeToString())
    monkeypatch.setattr(load, "PROTOBUF_LIMIT", 100)
    with pytest.raises(ModelError, match=r"protobuf reads at most 100; export"):
        load_model(tmp_path / "m.onnx")


def test_proto_beyond_the_limit_of_protobuf_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(model: object) -> None:
        raise EncodeError("Failed to serialize proto")

    monkeypatch.setattr(onnx.checker, "check_model", too_large)
    with pytest.raises(ModelError, match=r"more than the 2147483647 bytes .* pass the path"):
        load_model(make_model())


@pytest.mark.parametrize(
    ("opset", "message"),
    [
        (6, "uses opset 6, at least 7 is needed; convert it with onnx.version_converter"),
        (999, r"uses opset 999, the installed onnx .* knows up to \d+; install a newer onnx"),
    ],
)
@pytest.mark.parametrize("domain", ["", "ai.onnx"])
def test_opset_out_of_range_is_refused(opset: int, message: str, domain: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(make_model(opset_imports=[helper.make_opsetid(domain, opset)]))


@pytest.mark.parametrize(
    ("version", "message"), [(0, "has ir_version 0, at least 1"), (2, "uses opset 1, at least 7")]
)
def test_ir_version_out_of_range_is_refused(version: int, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(make_model(ir_version=version))


def test_graph_without_nodes_is_refused() -> None:
    model = make_model()
    model.graph.ClearField("node")
    with pytest.raises(ModelError, match=r"its graph has no nodes"):
        load_model(model)


def test_first_line_of_the_checker_is_the_reason() -> None:
    model = make_model()
    model.graph.node[2].op_type = "MatMull"
    with pytest.raises(ModelError, match=r"not a valid ONNX model: No Op registered for Mat") as e:
        load_model(model)
    assert "\n" not in str(e.value)
    assert isinstance(e.value.__cause__, onnx.checker.ValidationError)


def test_file_with_external_data_is_checked_too(tmp_path: Path) -> None:
    model = save_external(tmp_path / "m.onnx")
    model.graph.node[2].op_type = "MatMull"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"not a valid ONNX model: No Op registered for Mat"):
        load_model(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("location", "other.data", "'w' lies in .*other.data, which does not exist; put"),
        ("location", "../w.data", "outside the model's folder"),
        ("location", "/w.data", "absolute external location"),
        ("offset", 65, "'w' ends at byte 193 of .*w.data, which has 192"),
        ("location", "a\0b", r"external location 'a\\x00b', which no file can have"),
        ("location", "x" * 300, "which cannot be read .*too long"),
        ("location", "pipe", "which cannot be read .it is a pipe, not a file"),
        ("location", "circle", "circle, which (leads nowhere|cannot be read)"),
        ("offset", "x", "external offset 'x', which is no count"),
        ("offset", "9" * 5000, "external offset '9{40}', which is no count of bytes of at most 18"),
        ("length", 127, r"'w' has 127 bytes of external data, its shape \[8, 4\] needs 128"),
    ],
)
def test_external_data_that_are_not_there_are_refused(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    path = tmp_path / "m.onnx"
    model = save_external(path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    set_entry(model, key, value)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=message) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_external_names_beyond_ascii_are_found(tmp_path: Path) -> None:
    model = save_external(tmp_path / "m.onnx")
    set_entry(model, "location", "größe.bin")
    (tmp_path / "w.data").rename(tmp_path / "größe.bin")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    loaded = load_model(tmp_path / "m.onnx")
    assert np.array_equal(read_tensor(loaded.proto.graph.initializer[0], loaded.folder), W)


def test_file_with_external_data_in_a_folder_without_utf8_is_read(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"gr\xf6\xdfe")
    folder.mkdir()
    save_external(folder / "m.onnx")
    loaded = load_model(folder / "m.onnx")
    assert np.array_equal(read_tensor(loaded.proto.graph.initializer[0], loaded.folder), W)


@pytest.mark.parametrize("dims", [(-8, -4), (-32, 1), (8, 4, -1)])
def test_sizes_below_zero_are_refused(dims: tuple[int, ...]) -> None:
    tensor = numpy_helper.from_array(W, "w")
    tensor.dims[:] = dims
    with pytest.raises(ModelError, match=r"'w' has the shape .*, with sizes below 0"):
        read_tensor(tensor, None)


def test_more_axes_than_an_array_has_are_refused() -> None:
    tensor = numpy_helper.from_array(W, "w")
    tensor.dims[:] = [8, 4, *[1] * 68]
    with pytest.raises(ModelError, match=r"'w' has 70 axes, at most 32 can be read"):
        read_tensor(tensor, None)


def test_external_entries_without_utf8_are_refused(tmp_path: Path) -> None:
    model = save_external(tmp_path / "m.onnx")
    set_entry(model, "location", "MARKMARK")
    data = model.SerializeToString().replace(b"MARKMARK", b"gr\xf6\xdfe_ab")
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=r"external entry b'gr.* which is not UTF-8; export"):
        load_model(tmp_path / "m.onnx")


def test_pipe_as_a_model_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.onnx")
    for path in (tmp_path / "m.onnx", Path("/dev/zero")):
        with pytest.raises(ModelError, match=r"cannot be read \(it is a (pipe|device), not a file"):
            load_model(path)


def test_sparse_tensor_gets_memory_in_proportion_to_its_values() -> None:
    model = make_model()
    model.graph.sparse_initializer[0].dims[:] = [2**17, 2**16]
    with pytest.raises(ModelError, match=r"would take 34359738368 bytes .* 8 bytes of values"):
        make_dense(model)


def test_what_the_checker_says_of_a_name_without_utf8_is_a_refusal(tmp_path: Path) -> None:
    model = save_external(tmp_path / "m.onnx")
    model.graph.node[2].op_type = "MARKMARK"
    data = model.SerializeToString().replace(b"MARKMARK", b"gr\xf6\xdfe_ab")
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=r"what is wrong is said of a name that is not UTF-8"):
        load_model(tmp_path / "m.onnx")


def test_error_of_the_checkers_shape_inference_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: object) -> None:
        raise onnx.shape_inference.InferenceError("ranks differ")

    monkeypatch.setattr(onnx.checker, "check_model", fail)
    with pytest.raises(ModelError, match=r"not a valid ONNX model: ranks differ; export"):
        load_model(make_model())


def test_external_data_without_a_folder_are_refused(tmp_path: Path) -> None:
    model = save_external(tmp_path / "m.onnx")
    for source in (model, model.SerializeToString()):
        with pytest.raises(ModelError, match=r"pass the path of the model file"):
            load_model(source)


@pytest.mark.parametrize("is_external", [False, True])
def test_inputs_and_outputs_without_a_shape_are_read_and_stay_so(
    tmp_path: Path, is_external: bool
) -> None:
    proto = make_model()
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.ClearField("shape")
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=is_external, size_threshold=0)
    loaded = load_model(tmp_path / "m.onnx").proto
    shown = (*loaded.graph.input, *loaded.graph.output)
    assert not any(info.type.tensor_type.HasField("shape") for info in shown)
    assert loaded.graph.initializer[0].dims == proto.graph.initializer[0].dims


def test_a_model_without_shapes_is_checked_all_the_same(tmp_path: Path) -> None:
    proto = make_model()
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    proto.graph.node[0].op_type = "Nonsense"
    with pytest.raises(ModelError, match="is not a valid ONNX model"):
        load_model(proto)
