"""Whenever a run is killed, what the output's name leads to is whole: the old model or the new."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnx_lobs.errors import ConfigError, ModelError
from onnx_lobs.graph.files import publish as module
from onnx_lobs.graph.files.save import save_model
from onnx_lobs.memory import folder_lock, scratch
from onnx_lobs.memory.folder_lock import alone_in

STEPS = ("replace", "rename", "unlink")  # the system calls that change names


def make(folder: Path, size: float, files: int = 2) -> ModelProto:
    """Write a model whose weights are all `size`, in so many data files; return it."""
    folder.mkdir(exist_ok=True)
    weights = {f"w{i}": np.full((4, 4), size, np.float32) for i in range(3)}
    nodes = [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]) for i in range(3)]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 4]) for n in ("x0", "x3")]
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], stored)
    opsets = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    for number, tensor in enumerate(proto.graph.initializer[:files]):
        (folder / f"{number}.bin").write_bytes(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=f"{number}.bin")
    return proto


def sizes(path: Path) -> set[float]:
    """Return the values of all weights of a model; fails where the data are not there."""
    proto = onnx.load(path)
    return {float(v) for t in proto.graph.initializer for v in numpy_helper.to_array(t).ravel()}


def watch(monkeypatch: pytest.MonkeyPatch, see: Callable[[str], None]) -> None:
    """Call `see` before and after every step, which is where a kill would end the run."""

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            see(name)
            result = function(*args, **options)
            see(name)
            return result

        return call

    def unlink(path: Path, missing_ok: bool = False) -> None:
        with suppress(FileNotFoundError) if missing_ok else nullcontext():
            os.unlink(path)

    for name in STEPS:
        monkeypatch.setattr(os, name, watched(name, getattr(os, name)))
    if sys.version_info < (3, 11):  # whose Path calls the function that os had at the start
        monkeypatch.setattr(Path, "unlink", unlink)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("before", "after"), [(2, 2), (2, 1), (1, 2), (2, 0), (0, 2)])
def test_killed_at_any_moment_the_output_is_the_old_model_or_the_new(
    tmp_path: Path, before: int, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out" / "o.onnx"
    path.parent.mkdir()
    save_model(make(tmp_path / "a", 1, before), path, folder=tmp_path / "a", overwrite=False)
    seen: list[set[float]] = []
    watch(monkeypatch, lambda _: seen.append(sizes(path)))
    save_model(make(tmp_path / "b", 2, after), path, folder=tmp_path / "b", overwrite=True)
    assert seen[0] == {1}
    assert seen[-1] == {2}
    assert seen == sorted(seen, key=min)  # once, from the old one to the new one
    assert all(len(found) == 1 for found in seen)
    middle = ".1" if before and after else ""
    data = [f"o.onnx{middle}.data{i or ''}" for i in range(after)]
    assert names(path.parent) == ["o.onnx", *data]


def test_names_of_data_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "out" / "o.onnx"
    path.parent.mkdir()
    for size, name in enumerate(["o.onnx.data", "o.onnx.1.data", "o.onnx.data"]):
        proto = make(tmp_path / "a", size, 1)
        save_model(proto, path, folder=tmp_path / "a", overwrite=bool(size))
        assert set(names(path.parent)) == {"o.onnx", name}
        assert sizes(path) == {size}


def test_data_that_another_model_may_call_are_left(tmp_path: Path) -> None:
    path = tmp_path / "out" / "o.onnx"
    path.parent.mkdir()
    save_model(make(tmp_path / "a", 1), path, folder=tmp_path / "a", overwrite=False)
    kept = path.with_name("kept.onnx")
    path.rename(kept)  # without its data
    save_model(make(tmp_path / "b", 2), path, folder=tmp_path / "b", overwrite=True)
    save_model(make(tmp_path / "b", 3), path, folder=tmp_path / "b", overwrite=True)
    assert sizes(kept) == {1}
    assert sizes(path) == {3}


def test_data_of_another_name_are_not_ours_to_remove(tmp_path: Path) -> None:
    proto = make(tmp_path, 1)
    (tmp_path / "o.onnx").write_bytes(proto.SerializeToString())
    save_model(make(tmp_path / "b", 2), tmp_path / "o.onnx", folder=tmp_path / "b", overwrite=True)
    assert {"0.bin", "1.bin"} <= set(names(tmp_path))
    assert sizes(tmp_path / "o.onnx") == {2}


def test_what_is_replaced_need_not_be_a_model(tmp_path: Path) -> None:
    for name in ("o.onnx", "o.onnx.data"):
        (tmp_path / name).write_bytes(b"\xff no model")
    save_model(make(tmp_path / "b", 2), tmp_path / "o.onnx", folder=tmp_path / "b", overwrite=True)
    assert sizes(tmp_path / "o.onnx") == {2}
    assert (tmp_path / "o.onnx.data").read_bytes() == b"\xff no model"


def test_without_overwrite_nothing_is_there_until_all_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out" / "o.onnx"
    path.parent.mkdir()
    seen: list[bool] = []

    def see(_: str) -> None:
        seen.append(path.exists())
        assert not path.exists() or sizes(path) == {1}

    watch(monkeypatch, see)
    save_model(make(tmp_path / "a", 1), path, folder=tmp_path / "a", overwrite=False)
    assert seen == sorted(seen)
    assert seen[-1]


class Killed(BaseException):
    """Ends a test as a kill would."""


@pytest.mark.parametrize("step", range(1, 10))
def test_next_run_sets_right_what_a_killed_one_left(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out" / "o.onnx"
    path.parent.mkdir()
    save_model(make(tmp_path / "a", 1), path, folder=tmp_path / "a", overwrite=False)
    with monkeypatch.context() as patch:
        count = [0]

        def see(_: str) -> None:
            count[0] += 1
            if count[0] >= step:  # and all that would clean up afterwards
                raise Killed

        place = module._place

        def started(*args: Any, **options: Any) -> None:
            watch(patch, see)
            place(*args, **options)

        patch.setattr(module, "_place", started)
        patch.setattr(scratch, "_remove", lambda _, lock: lock.close())  # as the system does
        with pytest.raises(Killed):
            save_model(make(tmp_path / "b", 2), path, folder=tmp_path / "b", overwrite=True)
    assert sizes(path) in ({1}, {2})
    kept = path.with_name("kept.onnx")
    path.rename(kept)  # its data may be the only ones
    for _ in range(2):
        save_model(make(tmp_path / "c", 3), path, folder=tmp_path / "c", overwrite=True)
    assert sizes(path) == {3}


@pytest.mark.parametrize("made", ["o.onnx", "o.onnx.data"])
def test_second_of_two_runs_towards_one_absent_output_is_refused(tmp_path: Path, made: str) -> None:
    path = tmp_path / "out" / "o.onnx"
    path.parent.mkdir()

    def other_run(_: Path) -> None:
        (path.parent / made).write_bytes(b"theirs")

    proto = make(tmp_path / "a", 1)
    with pytest.raises(ConfigError, match=rf"{made} came into being while .*--overwrite"):
        save_model(proto, path, folder=tmp_path / "a", overwrite=False, verify=other_run)
    assert names(path.parent) == [made]
    assert (path.parent / made).read_bytes() == b"theirs"


@pytest.mark.parametrize(
    ("failing", "overwrite"), [("rename", True), ("replace", True), ("rename", False)]
)
def test_names_that_the_system_refuses_leave_the_folder_as_it_was(
    tmp_path: Path, failing: str, overwrite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out" / "o.onnx"
    path.parent.mkdir()
    if overwrite:
        save_model(make(tmp_path / "a", 1), path, folder=tmp_path / "a", overwrite=False)
    before = names(path.parent)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "bad disk")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises(ModelError, match=r"o.onnx cannot be written .*bad disk.*; free disk"):
            save_model(make(tmp_path / "b", 2), path, folder=tmp_path / "b", overwrite=overwrite)
    assert names(path.parent) == before
    assert not before or sizes(path) == {1}


def test_trouble_after_the_model_is_there_says_that_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "bad disk")

    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "o.onnx"
    monkeypatch.setattr(module, "_sync", fail)
    with pytest.raises(ModelError, match=r"o.onnx is written and whole, but .*bad disk"):
        save_model(make(tmp_path / "a", 1), path, folder=tmp_path / "a", overwrite=False)
    assert sizes(path) == {1}


def test_folder_that_others_hold_is_waited_for_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_lock, "PATIENCE", 0.1)
    with alone_in(tmp_path):
        with pytest.raises(OSError, match=r"has locked the folder for 0.1 seconds"):
            alone_in(tmp_path).__enter__()
        proto = make(tmp_path / "a", 1)
        with pytest.raises(ModelError, match=r"cannot be written .*locked the folder"):
            save_model(proto, tmp_path / "o.onnx", folder=tmp_path / "a", overwrite=False)
    save_model(proto, tmp_path / "o.onnx", folder=tmp_path / "a", overwrite=False)
    assert names(tmp_path) == ["a", "o.onnx", "o.onnx.data", "o.onnx.data1"]
