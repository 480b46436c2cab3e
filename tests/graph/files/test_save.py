"""A model is written whole or not at all, and its external data stay external."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf.message import EncodeError
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnx_lobs.errors import ConfigError, ModelError
from onnx_lobs.graph.files import save
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.location import external_ref
from onnx_lobs.graph.files.outputs import check_output, model_files
from onnx_lobs.graph.files.save import save_model
from onnx_lobs.graph.files.tensors import read_tensor, write_tensor
from onnx_lobs.memory.scratch import locked_folder

RNG = np.random.default_rng(0)
WEIGHTS = {name: RNG.standard_normal((8, 8)).astype(np.float32) for name in ("a", "b", "c")}
N_BYTES = 8 * 8 * 4
X = RNG.standard_normal((2, 8)).astype(np.float32)


def make_model(path: Path, **places: tuple[str, int]) -> ModelProto:
    """Write y = ((x @ a) @ b) @ c, weights inside or at the (file, offset) given for them."""
    initializers = [numpy_helper.from_array(array, name) for name, array in WEIGHTS.items()]
    nodes = [helper.make_node("MatMul", [x, w], [y]) for x, w, y in ("xap", "pbq", "qcy")]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], initializers)
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    helper.set_model_props(model, {"z": "1", "a": "2"})
    for tensor in model.graph.initializer:
        if tensor.name in places:
            location, offset = places[tensor.name]
            with (path.parent / location).open("ab") as file:
                file.truncate(max(offset + N_BYTES, file.tell()))
            with (path.parent / location).open("r+b") as file:
                file.seek(offset)
                file.write(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            entries = {"location": location, "offset": offset, "length": N_BYTES}
            for key, value in {**entries, "checksum": "old"}.items():
                tensor.external_data.add(key=key, value=str(value))
    path.write_bytes(model.SerializeToString())
    return model


ONE_FILE = {"a": ("w.data", 4096), "b": ("w.data", 0)}
TWO_FILES = {"a": ("w.data", 64), "b": ("v.data", 4), "c": ("w.data", 640)}


def run(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": X})[0]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def offsets(path: Path) -> dict[str, tuple[str, int]]:
    proto = onnx.load(path, load_external_data=False)
    refs = {tensor.name: external_ref(tensor) for tensor in proto.graph.initializer}
    return {name: (ref.location, ref.offset) for name, ref in refs.items() if ref is not None}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """An input folder and an empty output folder."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path / "in", tmp_path / "out"


@pytest.mark.parametrize("places", [{}, ONE_FILE, TWO_FILES])
def test_written_model_gives_the_same_output(folders, places) -> None:
    source, out = folders
    make_model(source / "m.onnx", **places)
    loaded = load_model(source / "m.onnx")
    before = loaded.proto.SerializeToString()
    n_bytes = save_model(loaded.proto, out / "n.onnx", folder=source, overwrite=False)
    assert loaded.proto.SerializeToString() == before
    assert n_bytes == sum(len(data) for data in content(out).values())
    onnx.checker.check_model(str(out / "n.onnx"), full_check=True)
    np.testing.assert_array_equal(run(out / "n.onnx"), run(source / "m.onnx"))
    for tensor in load_model(out / "n.onnx").proto.graph.initializer:
        np.testing.assert_array_equal(read_tensor(tensor, out), WEIGHTS[tensor.name])


@pytest.mark.parametrize(
    ("places", "files"),
    [
        ({}, ["n.onnx"]),
        (ONE_FILE, ["n.onnx", "n.onnx.data"]),
        (TWO_FILES, ["n.onnx", "n.onnx.data", "n.onnx.data1"]),
    ],
)
def test_as_many_data_files_as_the_input_had(folders, places, files) -> None:
    source, out = folders
    make_model(source / "m.onnx", **places)
    proto = load_model(source / "m.onnx").proto
    save_model(proto, out / "n.onnx", folder=source, overwrite=False)
    assert sorted(content(out)) == files
    assert [path.name for path in model_files(out / "n.onnx")] == files


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (ONE_FILE, {"a": ("n.data", 4096), "b": ("n.data", 0)}),
        (TWO_FILES, {"a": ("n.data", 0), "b": ("n.data1", 0), "c": ("n.data", 256)}),
        ({"a": ("w", 300), "b": ("w", 0)}, {"a": ("n.data", 256), "b": ("n.data", 0)}),
        ({"a": ("w", 64), "b": ("w", 8192)}, {"a": ("n.data", 0), "b": ("n.data", 256)}),
    ],
)
def test_data_keep_their_order_and_alignment(folders, places, expected) -> None:
    source, out = folders
    make_model(source / "m.onnx", **places)
    proto = load_model(source / "m.onnx").proto
    save_model(proto, out / "n", folder=source, overwrite=False)
    assert offsets(out / "n") == expected


def test_new_values_go_to_the_file_where_the_old_ones_were(folders) -> None:
    source, out = folders
    make_model(source / "m.onnx", **TWO_FILES)
    loaded = load_model(source / "m.onnx")
    tensor = loaded.proto.graph.initializer[0]
    pruned = np.where(read_tensor(tensor, source) > 0, WEIGHTS["a"], 0)
    write_tensor(tensor, pruned)
    in_memory = loaded.proto.graph.initializer[0].raw_data
    save_model(loaded.proto, out / "n.onnx", folder=source, overwrite=False)
    assert tensor.raw_data == in_memory
    assert offsets(out / "n.onnx").keys() == {"a", "b", "c"}
    np.testing.assert_allclose(
        run(out / "n.onnx"), X @ pruned @ WEIGHTS["b"] @ WEIGHTS["c"], rtol=0, atol=1e-4
    )  # float32 sums in another order
    entries = onnx.load(out / "n.onnx", load_external_data=False).graph.initializer[0]
    assert {entry.key for entry in entries.external_data} == {"location", "offset", "length"}


def test_shared_range_is_written_once_unless_one_user_changed(folders) -> None:
    source, out = folders
    make_model(source / "m.onnx", a=("w", 0), b=("w", 0), c=("w", 0))  # all hold the values of c
    loaded = load_model(source / "m.onnx")
    write_tensor(loaded.proto.graph.initializer[1], WEIGHTS["b"])
    save_model(loaded.proto, out / "n", folder=source, overwrite=False)
    at = {name: offset for name, (_, offset) in offsets(out / "n").items()}
    assert at["a"] == at["c"] != at["b"]
    assert (out / "n.data").stat().st_size == 4096 + N_BYTES
    for tensor, name in zip(load_model(out / "n").proto.graph.initializer, "cbc", strict=True):
        np.testing.assert_array_equal(read_tensor(tensor, out), WEIGHTS[name])


def test_length_and_offset_may_be_unstated(folders) -> None:
    source, out = folders
    model = make_model(source / "m.onnx", a=("w", 0))
    del model.graph.initializer[0].external_data[1:]
    save_model(model, out / "n", folder=source, overwrite=False)
    np.testing.assert_array_equal(run(out / "n"), run(source / "m.onnx"))


def test_large_data_are_copied_in_chunks(folders, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = folders
    make_model(source / "m.onnx", **ONE_FILE)
    monkeypatch.setattr(save, "_CHUNK", 7)
    proto = load_model(source / "m.onnx").proto
    save_model(proto, out / "n.onnx", folder=source, overwrite=False)
    np.testing.assert_array_equal(run(out / "n.onnx"), run(source / "m.onnx"))


def test_same_model_gives_the_same_bytes(folders) -> None:
    source, out = folders
    proto = make_model(source / "m.onnx", **TWO_FILES)
    save_model(proto, out / "n.onnx", folder=source, overwrite=False)
    first = content(out)
    for file in out.iterdir():
        file.unlink()
    save_model(proto, out / "n.onnx", folder=source, overwrite=True)
    assert content(out) == first


def test_verify_sees_the_finished_model_before_it_has_its_name(folders) -> None:
    source, out = folders
    proto = make_model(source / "m.onnx", **TWO_FILES)
    seen = []

    def verify(path: Path) -> None:
        assert path.name == "n.onnx"
        assert not (out / "n.onnx").exists()
        seen.append(run(path))

    save_model(proto, out / "n.onnx", folder=source, overwrite=False, verify=verify)
    np.testing.assert_array_equal(seen[0], run(source / "m.onnx"))


@pytest.mark.parametrize("error", [ModelError("bad"), OSError("bad"), KeyboardInterrupt("bad")])
@pytest.mark.parametrize("before", [{}, {"n.onnx": b"old", "n.onnx.data": b"old data"}])
def test_failing_verification_leaves_the_folder_as_it_was(folders, before, error) -> None:
    source, out = folders
    proto = make_model(source / "m.onnx", **TWO_FILES)
    for name, data in before.items():
        (out / name).write_bytes(data)

    def verify(path: Path) -> None:
        raise error

    with pytest.raises(type(error), match=r"bad"):
        save_model(proto, out / "n.onnx", folder=source, overwrite=True, verify=verify)
    assert content(out) == before


def test_full_disk_is_said_and_leaves_nothing(folders, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = folders
    proto = make_model(source / "m.onnx", **ONE_FILE)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError, match=r"n.onnx cannot be written .*No space left.*; free disk"):
        save_model(proto, out / "n.onnx", folder=source, overwrite=False)
    assert content(out) == {}


def test_data_file_cut_after_loading_is_said_and_leaves_nothing(folders) -> None:
    source, out = folders
    proto = make_model(source / "m.onnx", **ONE_FILE)
    os.truncate(source / "w.data", 4100)
    with pytest.raises(ModelError, match=r"w.data ends 252 bytes before the tensor at byte 4096"):
        save_model(proto, out / "n.onnx", folder=source, overwrite=False)
    assert content(out) == {}


def test_external_data_without_a_folder_are_refused(folders) -> None:
    source, out = folders
    proto = make_model(source / "m.onnx", **ONE_FILE)
    with pytest.raises(ModelError, match=r"pass the path of the model file"):
        save_model(proto, out / "n.onnx", folder=None, overwrite=False)


def test_model_beyond_the_limit_of_protobuf_is_refused(
    folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = folders
    proto = make_model(source / "m.onnx")
    monkeypatch.setattr(save, "PROTOBUF_LIMIT", 100)
    with pytest.raises(ModelError, match=r"more than the 100 bytes .*save_as_external_data"):
        save_model(proto, out / "n.onnx", folder=None, overwrite=False)
    assert content(out) == {}


def test_model_that_protobuf_refuses_is_refused() -> None:
    class TooLarge:
        def SerializeToString(self, deterministic: bool) -> bytes:
            raise EncodeError("Failed to serialize proto")

    with pytest.raises(ModelError, match=r"more than the 2147483647 bytes"):
        save._serialise(TooLarge(), Path("n.onnx"))


@pytest.mark.parametrize("existing", ["n.onnx", "n.onnx.data"])
def test_existing_output_is_refused_without_overwrite(folders, existing) -> None:
    source, out = folders
    proto = make_model(source / "m.onnx", **ONE_FILE)
    (out / existing).write_bytes(b"old")
    with pytest.raises(ConfigError, match=f"{existing} exists; .*--overwrite"):
        save_model(proto, out / "n.onnx", folder=source, overwrite=False)
    inputs = model_files(source / "m.onnx")
    with pytest.raises(ConfigError, match=f"{existing} exists; .*--overwrite"):
        check_output(out / "n.onnx", inputs=inputs, overwrite=False)
    assert content(out) == {existing: b"old"}
    check_output(out / "n.onnx", inputs=inputs, overwrite=True)
    save_model(proto, out / "n.onnx", folder=source, overwrite=True)
    np.testing.assert_array_equal(run(out / "n.onnx"), run(source / "m.onnx"))


def test_data_file_of_another_model_is_no_matter_without_external_data(folders) -> None:
    source, out = folders
    proto = make_model(source / "m.onnx")
    (out / "n.onnx.data").write_bytes(b"old")
    check_output(out / "n.onnx", inputs=[source / "m.onnx"], overwrite=False)
    save_model(proto, out / "n.onnx", folder=source, overwrite=False)
    assert (out / "n.onnx.data").read_bytes() == b"old"


def test_output_that_is_an_input_is_refused(folders) -> None:
    source, _ = folders
    path = source / "m.onnx"
    make_model(path, a=("n.onnx.data", 0))
    (source / "link.onnx").symlink_to(path)
    os.link(path, source / "hard.onnx")
    inputs = model_files(path)
    outputs = ["m.onnx", "../in/m.onnx", "link.onnx", "hard.onnx", "n.onnx.data", "n.onnx"]
    for name in outputs:
        with pytest.raises(ConfigError, match=r"would replace the input .*choose another name"):
            check_output(source / name, inputs=inputs, overwrite=True)


def test_data_file_of_the_input_is_not_overwritten(folders) -> None:
    source, _ = folders
    proto = make_model(source / "m.onnx", a=("n.onnx.data", 0))
    before = content(source)
    with pytest.raises(ConfigError, match=r"n.onnx.data would replace the input"):
        save_model(proto, source / "n.onnx", folder=source, overwrite=True)
    write_tensor(proto.graph.initializer[0], WEIGHTS["a"])
    with pytest.raises(ConfigError, match=r"n.onnx.data would replace the input"):
        save_model(proto, source / "n.onnx", folder=source, overwrite=True)
    assert content(source) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/n.onnx", "output folder .*missing does not exist; create it first"),
        ("file/n.onnx", "output folder .*file does not exist; create it first"),
        ("folder", "folder is no regular file; choose another name"),
        ("x" * 300, "is not possible .*choose a shorter name"),
        ("x" * 253, r"\.data is not possible .*choose a shorter name"),
    ],
)
def test_impossible_output_is_refused(folders, name: str, message: str) -> None:
    source, out = folders
    proto = make_model(source / "m.onnx", **ONE_FILE)
    (out / "file").touch()
    (out / "folder").mkdir()
    with pytest.raises(ConfigError, match=message):
        check_output(out / name, inputs=model_files(source / "m.onnx"), overwrite=True)
    with pytest.raises(ConfigError, match=message):
        save_model(proto, out / name, folder=source, overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == ["file", "folder"]


def test_device_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"/dev/null is no regular file"):
        check_output(Path("/dev/null"), inputs=[], overwrite=True)


def test_folder_that_is_not_writable_is_refused(folders, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: object) -> None:  # the tests may run as root, whom no mode stops
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(ConfigError, match=r"out is not writable \(Permission denied\); choose"):
        check_output(folders[1] / "n.onnx", inputs=[], overwrite=False)


def test_check_of_the_output_leaves_nothing(folders) -> None:
    check_output(folders[1] / "n.onnx", inputs=[], overwrite=False)
    assert content(folders[1]) == {}


KILLED = """
import os, pathlib, signal, sys
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.save import save_model
source, target = map(pathlib.Path, sys.argv[1:])
loaded = load_model(source)
kill = lambda path: os.kill(os.getpid(), signal.SIGKILL)
save_model(loaded.proto, target, folder=loaded.folder, overwrite=False, verify=kill)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_what_a_killed_run_left_beside_the_output_is_removed_by_the_next(tmp_path: Path) -> None:
    source, out = tmp_path / "m.onnx", tmp_path / "out"
    make_model(source, **ONE_FILE)
    out.mkdir()
    command = [sys.executable, "-c", KILLED, str(source), str(out / "p.onnx")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    left = [path for path in out.iterdir() if path.is_dir()]
    assert [path.name for path in left[0].iterdir()]
    with locked_folder(out, ".onnx-lobs-") as living:
        check_output(out / "p.onnx", inputs=model_files(source), overwrite=False)
        assert sorted(out.iterdir()) == sorted([living, Path(f"{living}.lock")])
    assert not list(out.iterdir())
