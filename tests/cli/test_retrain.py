"""The verb retrain writes a file, and tells what it did in each form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from retrained_networks import X, network, pruned
from typer.testing import CliRunner

from onnx_lobs.cli.main import app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with both models and data."""
    onnx.save(network(), tmp_path / "dense.onnx")
    onnx.save(pruned(network()), tmp_path / "small.onnx")
    np.savez(tmp_path / "data.npz", x=X[:64])
    return tmp_path


def args(folder: Path, *more: str) -> list[str]:
    """Return the arguments of a short retraining."""
    files = ["--dense", str(folder / "dense.onnx"), "-d", str(folder / "data.npz")]
    return ["retrain", str(folder / "small.onnx"), *files, "--steps", "3", *more]


def test_a_model_is_written_beside_the_pruned_one(folder: Path) -> None:
    done = CliRunner().invoke(app, args(folder))
    assert done.exit_code == 0, done.output
    onnx.checker.check_model(onnx.load(folder / "small_retrained.onnx"))
    assert "towards the dense model's outputs" in done.output
    assert "all stay" in done.output
    again = CliRunner().invoke(app, args(folder))
    assert again.exit_code == 2
    assert "exists" in again.output


def test_json_is_the_record_and_nothing_else(folder: Path) -> None:
    done = CliRunner().invoke(app, args(folder, "--json", "-o", str(folder / "a.onnx")))
    record = json.loads(done.stdout)
    assert record["move"] == "biases"
    assert record["steps"] == 3
    assert record["file_bytes"] == (folder / "a.onnx").stat().st_size


@pytest.mark.parametrize("form", ["html", "md", "json"])
def test_reports_are_written_and_repeat_the_command(folder: Path, form: str) -> None:
    report = folder / f"r.{form}"
    done = CliRunner().invoke(app, args(folder, "--report", str(report)))
    assert done.exit_code == 0, done.output
    text = report.read_text()
    for words in ("small.onnx", "held out", "--steps") if form != "json" else ('"losses"',):
        assert words in text
    assert (
        CliRunner().invoke(app, args(folder, "--overwrite", "--report", str(report))).exit_code == 0
    )


def test_a_report_that_would_replace_a_model_is_refused(folder: Path) -> None:
    model = (folder / "dense.json").resolve()
    model.write_bytes((folder / "dense.onnx").read_bytes())
    files = ["--dense", str(model), "-d", str(folder / "data.npz"), "--overwrite"]
    words = ["retrain", str(folder / "small.onnx"), *files, "--report", str(model)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "the report" in done.output


def test_little_memory_makes_small_batches_and_the_same_steps(folder: Path) -> None:
    losses = []
    for memory in ("1GiB", "1MiB"):
        out = str(folder / f"{memory}.onnx")
        done = CliRunner().invoke(app, args(folder, "--json", "-o", out, "--memory", memory))
        losses.append(json.loads(done.stdout)["losses"][0][1])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
