"""Runs for a target: options that are set, files beside the model, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import model, normal, value
from onnx import helper

from onnx_lobs import prune
from onnx_lobs.cli.main import main
from onnx_lobs.errors import ConfigError, ModelError
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.targets.mnn import compression_params
from onnx_lobs.targets.runtimes import fill_options
from onnx_lobs.verbs.inspect import inspect
from onnx_lobs.verbs.prune import prune_file

pytestmark = pytest.mark.slow  # each prunes a network
FAST = {"samples": 32, "effort": "fast", "allocation": "uniform"}


def write(folder: Path, last: str = "Relu", width: int = 32) -> Path:
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], name="conv", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["g"], name="gemm"),
        helper.make_node(last, ["g"], ["y"], name="the last"),
    ]
    weights = {"k": normal(1, 8, 2, 3, 3), "w": normal(2, 8 * 36, width)}
    proto = model(nodes, [value("x", ["n", 2, 6, 6])], ["y"], weights, opset=17)
    path = folder / "m.onnx"
    onnx.save(proto, path)
    np.savez(folder / "m_calibration.npz", x=normal(3, 64, 2, 6, 6))
    return path


def run(path: Path, **options: Any) -> Any:
    output = path.with_name(options.pop("output", "out.onnx"))
    given = {**FAST, **options}
    config = PruneConfig(**fill_options(given, given))
    return prune_file(path, output, config)


def test_mnn_gets_blocks_and_its_parameters(tmp_path: Path) -> None:
    deployed = run(write(tmp_path), target="mnn", sparsity=0.5).deploy
    assert deployed is not None
    (params,) = deployed.files
    assert Path(params).read_bytes() == compression_params(4)
    assert params in deployed.command
    pruned = inspect(tmp_path / "out.onnx", PruneConfig(pattern="4x1"))
    assert pruned.is_met


def test_tensorrt_gets_2_of_4_and_its_command(tmp_path: Path) -> None:
    report = run(write(tmp_path), target="tensorrt")
    assert report.totals.sparsity == 0.5
    assert "--sparsity=enable" in report.deploy.command
    assert report.options["pattern"] == "2:4"


def test_c_files_stand_beside_the_model(tmp_path: Path) -> None:
    report = run(write(tmp_path), target="c", sparsity=0.8, chip="flash=64KB,ram=8KB")
    names = {Path(file).name for file in report.deploy.files}
    assert names == {"out.c", "out.h", "out_samples.h", "out_check.c"}
    assert report.deploy.fit == "FITS"
    assert report.deploy.multiplications == report.totals.multiplications[1]
    assert report.options["values"] == "int8"


def test_the_least_sparse_network_that_fits_is_found(tmp_path: Path) -> None:
    report = run(write(tmp_path, width=256), target="c", chip="flash=32KB")
    assert report.target is not None
    assert report.target.is_met
    assert 0.9 * 32768 <= report.deploy.flash_bytes <= 32768
    assert len(report.target.runs) <= 3


def test_rounds_name_the_zeros_and_a_chip_is_only_compared_with(tmp_path: Path) -> None:
    path = write(tmp_path)
    report = run(path, target="c", chip="flash=64KB", values="fp32", retrain=2, rounds=(0.5, 0.8))
    assert report.target is None
    assert report.totals.sparsity == pytest.approx(0.8, abs=1e-3)
    assert report.deploy.fit == "FITS"


def test_c_code_for_size_takes_fewer_bytes_with_the_same_weights(tmp_path: Path) -> None:
    path = write(tmp_path)
    speed, size = (
        run(path, target="c", sparsity=0.5, optimise=kind, output=f"{kind}.onnx")
        for kind in ("speed", "size")
    )
    assert size.deploy.flash_bytes < speed.deploy.flash_bytes
    assert size.deploy.multiplications == speed.deploy.multiplications
    models = [(tmp_path / f"{kind}.onnx").read_bytes() for kind in ("speed", "size")]
    assert len(models[0]) == len(models[1])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "c", "chip": "flash=1KB"}, ConfigError, "nothing fits flash=1KB: with 99.9 %"),
        ({"target": "c", "chip": "flash=1MB,ram=64"}, ConfigError, "nothing fits .* of RAM"),
        ({"target": "c", "chip": "ram=64KB"}, ConfigError, "names no flash"),
        ({"target": "c", "chip": "stm32"}, ConfigError, "chip 'stm32' is unknown"),
        ({"target": "mnn", "values": "int8"}, ConfigError, "float32 only"),
        ({"optimise": "size"}, ConfigError, "--optimise size .*; add --target c"),
    ],
)
def test_what_is_refused_leaves_nothing(
    tmp_path: Path, options: dict[str, str], error: type[Exception], message: str
) -> None:
    path = write(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=message):
        run(path, **options)
    assert sorted(tmp_path.iterdir()) == before


def test_an_operator_without_c_code_is_named_before_the_work(tmp_path: Path) -> None:
    path = write(tmp_path, last="Hardmax")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ModelError, match="Hardmax"):
        run(path, target="c", sparsity=0.5)
    assert sorted(tmp_path.iterdir()) == before


def test_files_beside_are_not_replaced_unasked(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "out_mnn_params.bin").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="exists; allow it to be replaced with --overwrite"):
        run(path, target="mnn", sparsity=0.5)
    assert (tmp_path / "out_mnn_params.bin").read_bytes() == b"mine"


def test_a_file_that_is_larger_than_the_flash_is_too_big(tmp_path: Path) -> None:
    report = run(write(tmp_path), sparsity=0.5, chip="flash=4KB")
    assert report.deploy.fit == "TOO BIG"
    assert report.deploy.target is None


def test_python_sets_the_same_options(tmp_path: Path) -> None:
    report = prune(write(tmp_path), target="tensorrt", **FAST).report
    assert report.options["pattern"] == "2:4"


def test_multiplications_are_those_that_inspect_tells(tmp_path: Path) -> None:
    path = write(tmp_path)
    report = run(path, sparsity=0.5)
    before, after = report.totals.multiplications
    assert before == sum(row.multiplications or 0 for row in inspect(path).layers)
    left = [layer.multiplications[1] for layer in report.layers]
    assert after == sum(left)
    assert left == [8 * 2 * 9 * 36 // 2, 8 * 36 * 32 // 2]


def test_the_command_line_keeps_what_was_written_though_it_is_a_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path)
    words = ["--target", "mnn", "--pattern", "unstructured", "-s", "0.7", "--samples", "32"]
    with pytest.raises(SystemExit) as ended:
        main([str(path), *words, "--effort", "fast", "--json"])
    record = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert record["options"]["pattern"] == "unstructured"
    assert record["options"]["budget"] == "macs"
    assert record["command"][record["command"].index("--pattern") + 1] == "unstructured"
    assert record["deploy"]["files"] == []
