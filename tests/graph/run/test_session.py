"""Sessions take any input the execution copy may have, and turn every failure into ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from build_onnx import model, normal, one_node, run, value
from onnx import TensorProto, helper

from onnx_lobs.errors import ConfigError, InferenceError, ModelError
from onnx_lobs.graph.run import session as module
from onnx_lobs.graph.run.session import STOP_SPINNING, Session, find_provider, one_line

PROTO = one_node("MatMul", {"w": normal(1, 4, 3)})
X = normal(2, 5, 4)


@pytest.mark.parametrize("name", ["cpu", "CPU", "CPUExecutionProvider"])
def test_providers_are_found_by_short_or_full_name(name: str) -> None:
    assert find_provider(name) == "CPUExecutionProvider"


def test_missing_provider_is_named_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    only = ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: only)
    with pytest.raises(ConfigError, match=r"'cuda' is not in .*install onnxruntime-gpu, or"):
        find_provider("cuda")
    with pytest.raises(ConfigError, match=r"'NoSuch' is not in .*; use one of CPUExecution"):
        find_provider("NoSuch")


def test_provider_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fallback:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Fallback)
    with pytest.raises(ConfigError, match=r"CUDAEx.*could not be started; check the GPU's driver"):
        Session(PROTO, provider="CUDAExecutionProvider")
    with pytest.raises(ConfigError, match=r"OtherProvider could not be started; check its driver"):
        Session(PROTO, provider="OtherProvider")


def test_cudas_libraries_are_loaded_once_and_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []

    def load() -> None:
        calls.append("load")
        print("Failed to load libcublas.so")

    monkeypatch.setattr(onnxruntime, "preload_dlls", load)
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: list(module.PROVIDER_NAMES.values())
    )
    module._load_cuda.cache_clear()
    find_provider("cpu")
    assert calls == []
    assert find_provider("cuda") == find_provider("CUDAExecutionProvider") == module.CUDA
    assert calls == ["load"]
    assert capsys.readouterr().out == ""
    module._load_cuda.cache_clear()  # the real libraries were not loaded


def test_session_runs_a_model_and_a_file(tmp_path: Path) -> None:
    onnx.save(PROTO, tmp_path / "m.onnx")
    expected = run(PROTO, x=X)["y"]
    for source in (PROTO, tmp_path / "m.onnx"):
        assert np.array_equal(Session(source).run({"x": X, "ignored": X})["y"], expected)


def test_session_reads_external_data_from_the_folder(tmp_path: Path) -> None:
    copy = onnx.ModelProto()
    copy.CopyFrom(PROTO)
    onnx.save(copy, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    loaded = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    found = Session(loaded, folder=tmp_path).run({"x": X})["y"]
    assert np.array_equal(found, run(PROTO, x=X)["y"])


def test_chosen_outputs_come_alone() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Neg", ["x"], ["b"])]
    session = Session(model(nodes, [value("x", [5, 4])], ["a", "b"]))
    assert list(session.run({"x": X}, ["b"])) == ["b"]
    assert session.inputs == ["x"]
    assert session.outputs == ["a", "b"]


@pytest.mark.parametrize("dtype", [np.float64, ml_dtypes.bfloat16])
def test_wide_and_brain_floats_are_converted_where_float32_is_wanted(dtype: type) -> None:
    found = Session(PROTO).run({"x": X.astype(dtype)})["y"]
    expected = run(PROTO, x=X.astype(dtype).astype(np.float32))["y"]
    assert np.array_equal(found, expected)


def test_model_that_cannot_be_loaded_is_a_model_error() -> None:
    proto = one_node("Relu", {}, ["x"])
    proto.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ModelError, match=r"cannot load the model: .*NoSuchOperator"):
        Session(proto)


def test_model_file_that_is_none_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="onnxruntime cannot load the model"):
        Session(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "feeds",
    [{}, {"x": normal(1, 5, 7)}, {"x": X.astype(np.int64)}],
    ids=["nothing", "wrong shape", "wrong type"],
)
def test_data_that_do_not_run_are_an_inference_error(feeds: dict[str, np.ndarray]) -> None:
    with pytest.raises(InferenceError, match="onnxruntime failed on inputs of shape"):
        Session(PROTO).run(feeds)


def test_model_too_large_for_a_message_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PROTO_BYTES", 10)
    with pytest.raises(ModelError, match="2 GiB; store its weights as external data"):
        Session(PROTO)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[ONNXRuntimeError] : 1 : FAIL : the reason\nmore", "the reason"),
        ("plain\nmore", "plain"),
        ("", "ValueError"),
    ],
)
def test_one_line_drops_the_prefix_and_the_rest(text: str, line: str) -> None:
    assert one_line(ValueError(text)) == line


def shown(*names: str) -> onnx.ModelProto:
    """Return a model that shows its input, a constant, a product and what depends on values."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Relu", ["y"], ["r"]),
        helper.make_node("NonZero", ["r"], ["places"]),
        helper.make_node("Identity", ["w"], ["fixed"]),
    ]
    proto = model(nodes, [value("x", ["n", 4])], ["y"], {"w": normal(1, 4, 3)})
    del proto.graph.output[:]
    kinds = {"places": onnx.TensorProto.INT64}
    for name in names:
        rank = ["n", 4] if name == "x" else [None, None]
        proto.graph.output.append(value(name, rank, kinds.get(name, onnx.TensorProto.FLOAT)))
    return proto


@pytest.mark.parametrize(
    "names", [("y",), ("y", "r"), ("x", "y"), ("x",), ("fixed", "y"), ("y", "places")]
)
def test_outputs_stay_as_they_are_while_other_sessions_run(names: tuple[str, ...]) -> None:
    proto = shown(*names)
    session, other = Session(proto), Session(proto)
    kept = []
    for seed in range(6):  # the number of nonzeros changes, and so does that of samples
        x = normal(seed, 5 if seed < 4 else 7, 4)
        expected = {name: array.copy() for name, array in Session(proto).run({"x": x}).items()}
        kept.append((x.copy(), session.run({"x": x}), expected))
        other.run({"x": -x})
    w = onnx.numpy_helper.to_array(proto.graph.initializer[0])
    for x, found, expected in kept:
        assert list(found) == list(names)
        y = x @ w
        known = {"x": x, "y": y, "r": np.maximum(y, 0), "fixed": w}
        known["places"] = np.array(np.nonzero(y > 0))
        for name in names:
            # sums of four products of float32: the order of adding them may differ
            np.testing.assert_allclose(found[name], known[name], rtol=1e-5, atol=1e-6)
            assert np.array_equal(found[name], expected[name]), name


def test_bad_data_are_an_error_after_good_ones_too() -> None:
    session = Session(shown("y"))
    session.run({"x": X})
    with pytest.raises(InferenceError, match="failed on inputs of shape"):
        session.run({"x": normal(1, 5, 9)})
    with pytest.raises(InferenceError, match="failed on inputs"):
        session.run({"x": X.astype(np.int64)})


@pytest.mark.parametrize("light", [False, True])
def test_threads_of_onnxruntime_do_not_spin_between_runs(light: bool) -> None:
    options = Session(PROTO, light=light)._session.get_session_options()
    assert options.get_session_config_entry(STOP_SPINNING) == "1"


def test_a_type_that_numpy_lacks_is_an_error_of_one_line() -> None:
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
    kind = TensorProto.FLOAT8E4M3FN
    proto = model(nodes, [value("x", ["n", 2], kind)], ["y"], opset=19, ir_version=9)
    session = Session(proto)
    with pytest.raises(InferenceError, match=r"failed on inputs of shape x \(3, 2\)"):
        session.run({"x": np.zeros((3, 2), ml_dtypes.float8_e4m3fn)})


def test_graph_that_ends_the_process_at_the_highest_level_runs() -> None:
    # onnxruntime 1.32 alone: a segmentation fault, which would take the test run with it
    code = """
import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnx_lobs.graph.run.session import Session

half = TensorProto.FLOAT16
nodes = [
    helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
    helper.make_node("MatMul", ["t", "w"], ["y"]),
]
x = helper.make_tensor_value_info("x", half, [2, 5, 4])
y = helper.make_tensor_value_info("y", half, [5, 2, 6])
w = np.arange(24, dtype=np.float16).reshape(4, 6)
graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(w, "w")])
opsets = [helper.make_opsetid("", 20)]
proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
fed = np.ones((2, 5, 4), np.float16)
assert (Session(proto).run({"x": fed})["y"] == fed.transpose(1, 0, 2) @ w).all()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
