"""The verbs that measure several sparsities: lists, plots, what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from build_onnx import normal, run, two_layers

from onnx_lobs.cli.main import main


@pytest.fixture(autouse=True)
def _desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONNX_LOBS_COMPILED", "0")
    proto = two_layers()
    onnx.save(proto, "m.onnx")
    x = normal(3, 64, 16)
    np.savez("d.npz", x=x)
    np.savez("t.npz", x=x, label=run(proto, x=x)["y"].argmax(1))


def code(*args: str) -> object:
    with pytest.raises(SystemExit) as exit_:
        main(args)
    return exit_.value.code


COMPARE = ("compare", "m.onnx", "-d", "d.npz", "-s", "0.5,70%", "--method", "Magnitude,sparsegpt")
SENSITIVITY = ("sensitivity", "m.onnx", "-d", "d.npz", "-s", "0.5,0.9")


@pytest.mark.slow
@pytest.mark.parametrize("verb", [COMPARE, SENSITIVITY], ids=["compare", "sensitivity"])
def test_a_table_a_plot_and_a_record_are_made(
    verb: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--test", "t.npz", "--plot", "p.svg", "--report", "r.json")
    assert code(*verb, *more) == 0
    out = capsys.readouterr().out
    assert "top1" in out
    assert Path("p.svg").read_text().startswith("<svg")
    assert json.loads(Path("r.json").read_text())["score"] == "top1"
    assert code(*verb, *more) == 2
    assert "plot 'p.svg' exists; name another, or give --overwrite" in capsys.readouterr().err


@pytest.mark.slow
def test_json_is_all_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert code(*COMPARE, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert [(r["method"], round(r["sparsity"], 2)) for r in record["runs"]] == [
        *(("magnitude", 0.5), ("magnitude", 0.7)),
        *(("sparsegpt", 0.5), ("sparsegpt", 0.7)),
    ]


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (("compare", "m.onnx", "-s", "0,8"), "is 8.0; it must be at least 0 and below 1"),
        (("compare", "m.onnx", "-s", ""), "sparsities '' is not understood"),
        (("compare", "m.onnx", "--method", "sparsgpt"), "did you mean 'sparsegpt'"),
        (("compare", "m.onnx", "--pattern", "2;4"), "pattern '2;4' is unknown"),
        (("sensitivity", "m.onnx", "--plot", "p.png"), "has an unknown form; name it .svg"),
        (("sensitivity", "m.onnx", "--plot", "gone/p.svg"), "the folder of plot 'gone/p.svg'"),
        (("sensitivity", "m.onnx", "--pattern", "2:4"), "has no curve over sparsity"),
    ],
)
def test_what_is_wrong_is_one_line(
    args: tuple[str, ...], match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code(*args) == 2
    err = capsys.readouterr().err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert match in line
