"""An output is refused that would replace what a run needs, or that is no file of its own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from build_onnx import normal, one_node

from onnx_lobs.errors import ConfigError
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.outputs import check_apart, check_output, data_names
from onnx_lobs.graph.files.save import save_model


@pytest.mark.parametrize("target", ["/dev/null", "/dev/stdout", "pipe", "/proc/self/fd/1"])
@pytest.mark.parametrize("hops", [1, 2])
def test_links_to_pipes_devices_and_open_files_are_refused(
    tmp_path: Path, target: str, hops: int
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link1").symlink_to(target)
    (tmp_path / "link2").symlink_to("link1")
    with pytest.raises(ConfigError, match=r"no regular file; choose another name"):
        check_output(tmp_path / f"link{hops}", inputs=[], overwrite=True)
    assert (tmp_path / f"link{hops}").is_symlink()


def test_link_to_a_file_is_an_output_that_exists(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for name, target in {"link": "file", "dangling": "nothing"}.items():
        (tmp_path / name).symlink_to(target)
        with pytest.raises(ConfigError, match=rf"{name} exists; allow it to be replaced"):
            check_output(tmp_path / name, inputs=[], overwrite=False)
        check_output(tmp_path / name, inputs=[], overwrite=True)


def test_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ConfigError, match=r"is not possible .*links"):
        check_output(tmp_path / "a", inputs=[], overwrite=True)


def test_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not possible .*no name can hold"):
        check_output(tmp_path / "a\0b", inputs=[], overwrite=True)


@pytest.mark.parametrize("how", ["same", "dots", "link", "hard link", "linked folder"])
@pytest.mark.parametrize("exists", [True, False])
def test_two_names_of_one_place_are_refused(tmp_path: Path, how: str, exists: bool) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "linked").symlink_to("in")
    (tmp_path / "link").symlink_to("in/a")
    if exists:
        (folder / "a").touch()
        os.link(folder / "a", tmp_path / "hard")
    elif how == "hard link":
        (tmp_path / "hard").symlink_to(folder / "a")
    other = {
        "same": folder / "a",
        "dots": tmp_path / "in" / ".." / "in" / "." / "a",
        "link": tmp_path / "link",
        "hard link": tmp_path / "hard",
        "linked folder": tmp_path / "linked" / "a",
    }[how]
    with pytest.raises(ConfigError, match=r"^the report .* is the model .*in/a too, which it"):
        check_apart({"the report": other}, {"the model": [folder / "a"]})
    with pytest.raises(ConfigError, match=r"^the cache .* is the report .* too, which it"):
        check_apart({"the report": folder / "a", "the cache": other}, {})


def test_names_of_other_places_are_let_be(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    writes = {"one": tmp_path / "b", "two": tmp_path / "c", "three": Path("x" * 5000)}
    check_apart(writes, {"the model": [tmp_path / "a", tmp_path / "a"]})


def test_files_that_are_only_read_may_be_one(tmp_path: Path) -> None:
    check_apart({}, {"the data": [tmp_path / "a"], "the test data": [tmp_path / "a"]})


NAMES = [
    "größe.onnx",
    "模型.onnx",
    os.fsdecode(b"gr\xf6\xdfe.onnx"),
    "x" * 243 + ".onnx",
    "-x.onnx",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("external", [True, False])
def test_outputs_of_any_name_are_written(tmp_path: Path, name: str, external: bool) -> None:
    proto = one_node("MatMul", {"w": normal(1, 4, 3)})
    source = tmp_path / "m.onnx"
    onnx.save(proto, source, save_as_external_data=external, location="w.bin", size_threshold=0)
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / name
    loaded = load_model(source)
    seen = []
    for overwrite in (False, True):
        save_model(loaded.proto, path, folder=tmp_path, overwrite=overwrite, verify=seen.append)
    assert all(str(path).encode() for path in seen)  # UTF-8, as onnxruntime wants it
    found = onnx.ModelProto.FromString(path.read_bytes())
    (tensor,) = found.graph.initializer
    if external:
        assert tensor.external_data[0].value == data_names(path, 1)[0].replace(".data", ".1.data")
    values = onnx.numpy_helper.to_array(tensor, str(tmp_path / "out"))
    assert np.array_equal(values, normal(1, 4, 3))
    assert len(os.listdir(tmp_path / "out")) == 1 + external
