"""Any path reaches onnx and onnxruntime, whatever bytes it is made of."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from build_onnx import normal, one_node

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.native_path import NativePath, said_in_utf8
from onnx_lobs.graph.run.session import Session

LATIN = os.fsdecode(b"gr\xf6\xdfe")


def test_path_in_utf8_is_given_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "größe" / "模型.onnx"
    assert NativePath().text(path) == str(path)


def test_file_in_a_folder_without_utf8_is_reached_by_a_link(tmp_path: Path) -> None:
    folder = tmp_path / LATIN
    folder.mkdir()
    onnx.save(one_node("MatMul", {"w": normal(1, 4, 3)}), tmp_path / "m.onnx")
    (tmp_path / "m.onnx").rename(folder / "m.onnx")
    place = NativePath()
    text = place.text(folder / "m.onnx")
    assert os.path.samefile(text, folder / "m.onnx")
    assert os.path.samefile(place.text(folder), folder)
    onnx.checker.check_model(text)
    assert Session(folder / "m.onnx").outputs
    links = Path(text).parent.parent
    assert links.is_dir()
    del place
    gc.collect()
    assert not links.exists()
    assert (folder / "m.onnx").exists()


def test_file_name_without_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is not UTF-8, and onnxruntime opens no other; rename"):
        NativePath().text(tmp_path / LATIN)


def test_link_that_cannot_be_made_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(ModelError, match=r"no link to it can be made \(not supported\); rename"):
        NativePath().text(tmp_path / LATIN / "m.onnx")


def test_locale_without_utf8_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "größe").touch()
    code = (
        "import os, sys; from pathlib import Path\n"
        "from onnx_lobs.graph.files.native_path import said_in_utf8\n"
        "name, = os.listdir(sys.argv[1])\n"
        "sys.exit(said_in_utf8(Path(name)) != 'gr\\xf6\\xdfe')"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env={**os.environ, **plain}, check=False
    )
    assert done.returncode == 0
    assert said_in_utf8(Path(LATIN)) is None
