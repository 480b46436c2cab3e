"""The command expand: its exit codes, its lines, and a whole way through prune."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from build_onnx import model, normal, value
from onnx import helper

from onnx_lobs.cli.main import main
from onnx_lobs.errors import ModelError


def code(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return int(ended.value.code or 0)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    nodes = [
        helper.make_node("Gemm", ["x", "v", "c"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    weights = {"v": normal(1, 64, 32), "c": normal(2, 64), "w": normal(3, 64, 40)}
    onnx.save(model(nodes, [value("x", [None, 32])], ["y"], weights), tmp_path / "m.onnx")
    np.savez(tmp_path / "m_calibration.npz", x=normal(4, 200, 32))
    return tmp_path / "m.onnx"


def weights_of(path: Path) -> dict[str, bytes]:
    found = onnx.load(path).graph.initializer
    return {t.name: t.raw_data for t in found if t.name in ("v", "w")}


@pytest.mark.parametrize("kind", ["fp32", "fp16", "int8"])
def test_all_forms_of_a_run_expand_to_the_same_floats(
    network: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for form in ("dense", "sparse", "packed"):
        output, back = network.with_name(f"{form}.onnx"), network.with_name(f"{form}_expanded.onnx")
        options = ["-s", 0.7, "--format", form, "--values", kind, "-q", "-o", output]
        assert code("prune", network, *options) == 0
        if (form, kind) == ("dense", "fp32"):
            found[form] = weights_of(output)
            continue
        capsys.readouterr()
        assert code("expand", output, "--values", "fp32", "--json") == 0
        record = json.loads(capsys.readouterr().out)
        assert record["widened"] == (0 if kind == "fp32" else 2)
        assert record["output"] == str(back)
        found[form] = weights_of(back)
    assert found["dense"] == found["sparse"] == found["packed"]
    assert {name: len(raw) for name, raw in found["dense"].items()} == {"v": 8192, "w": 10240}


def test_nothing_to_expand_is_one_line_and_a_code(
    network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code("expand", network) == ModelError.exit_code
    assert capsys.readouterr().err.count("\n") == 1


def test_it_says_what_it_did(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = network.with_name("p.onnx")
    assert code("prune", network, "-s", 0.8, "--format", "packed", "-q", "-o", packed) == 0
    assert code("expand", packed, "-o", network.with_name("e.onnx")) == 0
    assert "expanded 0 sparse and 2 packed weights" in capsys.readouterr().out
