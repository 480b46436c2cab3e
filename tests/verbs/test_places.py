"""No output of a run is what it reads or another output, by whatever name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import normal, one_node

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.verbs.places import check_places, check_report_apart
from onnx_lobs.verbs.prune import prune_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with external data, data of all kinds, and links."""
    proto = one_node("MatMul", {"w": normal(1, 16, 12)})
    path = tmp_path / "m.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    np.savez(tmp_path / "d.npz", x=normal(2, 20, 16))
    np.savez(tmp_path / "m_test.npz", x=normal(2, 20, 16), label=np.arange(20) % 4)
    (tmp_path / "set").mkdir()
    np.save(tmp_path / "set" / "x.npy", normal(2, 20, 16))
    (tmp_path / "score.py").write_text("def score(run):\n    return 1.0\n")
    for name in ("m.onnx", "w.bin", "d.npz"):
        (tmp_path / f"link_{name}").symlink_to(name)
    return tmp_path


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"report": "m.onnx"}, "the report .* is the model "),
        ({"report": "link_m.onnx"}, "the report .* is the model "),
        ({"report": "w.bin"}, "the report .* is the model's external data "),
        ({"report": "link_w.bin"}, "the report .* is the model's external data "),
        ({"report": "d.npz"}, "the report .* is the data "),
        ({"report": "m_test.npz"}, "the report .* is the test data "),
        ({"report": "score.py"}, "the report .* is the script that scores "),
        ({"report": "o.onnx"}, "the report .* is the output "),
        ({"report": "o.onnx.data"}, "the report .* is the output data file 1, "),
        ({"report": "o_best_effort.onnx"}, "the report .* is the output for a missed target"),
        ({"output": "link_d.npz"}, "the output .* is the data "),
        ({"output": "m_test.npz"}, "the output .* is the test data "),
        ({"output": "set/x.npy", "data": "set"}, "the output .* is the data "),
        ({"cache": "o.onnx"}, "the cache folder .* is the output "),
        ({"cache": "set", "data": "set"}, "the cache folder .* is the data "),
        ({"scratch": "set", "data": "set"}, "the scratch folder .* is the data "),
        ({"cache": "set", "scratch": "set/../set"}, "the scratch folder .* is the cache folder "),
        ({"cache": "r.json", "report": "r.json"}, "the report .* is the cache folder "),
    ],
)
def test_names_for_two_things_are_refused(
    folder: Path, names: dict[str, str], message: str
) -> None:
    paths = {kind: folder / name for kind, name in names.items()}
    options = {kind: str(paths[kind]) for kind in ("cache", "scratch") if kind in paths}
    config = PruneConfig(score=f"{folder}/score.py:score", **options)
    output = paths.get("output", folder / "o.onnx")
    data = str(paths.get("data", folder / "d.npz"))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    arguments: dict[str, Any] = {
        "data": data,
        "report": [paths["report"]] if "report" in paths else [],
    }
    with pytest.raises(ConfigError, match=message):
        check_places(folder / "m.onnx", output, config, **arguments)
    with pytest.raises(ConfigError, match=message):
        prune_file(folder / "m.onnx", output, config, overwrite=True, **arguments)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_usual_names_are_let_be(folder: Path) -> None:
    config = PruneConfig(cache=str(folder / "cache"), scratch=str(folder), score="agreement")
    report, data = folder / "r.json", str(folder / "set")
    check_places(folder / "m.onnx", folder / "o.onnx", config, data=data, report=[report])
    check_places(folder / "m.onnx", folder / "o.onnx", config, data={"x": normal(2, 20, 16)})


def test_files_of_other_kinds_are_not_replaced(folder: Path) -> None:
    (folder / "photos" / "inner").mkdir(parents=True)
    for name in ("photos/inner/a.jpg", "c.txt", "t.json", "feeds.py"):
        (folder / name).touch()
    named = {"classes": str(folder / "c.txt"), "tokenizer": str(folder / "t.json")}
    for report, data, message in (
        ("photos/inner/a.jpg", "photos", "is the data "),
        ("feeds.py", "feeds.py:batches", "is the data "),
        ("c.txt", "photos", "is the list of classes "),
        ("t.json", "photos", "is the tokenizer "),
    ):
        arguments: dict[str, Any] = {"data": f"{folder}/{data}", "report": [folder / report]}
        with pytest.raises(ConfigError, match=f"the report .* {message}"):
            check_places(folder / "m.onnx", folder / "o.onnx", PruneConfig(**named), **arguments)


def test_report_of_a_comparison_is_neither_model_nor_data(folder: Path) -> None:
    models = {"the dense model": folder / "m.onnx", "the pruned model": folder / "m.onnx"}
    for name in ("link_m.onnx", "w.bin", "link_d.npz"):
        with pytest.raises(ConfigError, match=r"the report .* is the (pruned|data)"):
            check_report_apart(models, str(folder / "d.npz"), PruneConfig(), [folder / name])
    check_report_apart(models, None, PruneConfig(), [folder / "r.json"])


def test_several_reports_have_numbers(folder: Path) -> None:
    reports = [folder / "r.json", folder / "m.onnx"]
    with pytest.raises(ConfigError, match=r"report 2 .* is the model "):
        check_places(folder / "m.onnx", folder / "o.onnx", PruneConfig(), report=reports)
    reports = [folder / "r.json", folder / "o.onnx"]
    with pytest.raises(ConfigError, match=r"report 2 .* is the output "):
        check_places(folder / "m.onnx", folder / "o.onnx", PruneConfig(), report=reports)
