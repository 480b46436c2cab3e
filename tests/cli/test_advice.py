"""The commands that a report advises can be typed as they stand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from build_onnx import model, normal, run, value
from onnx import helper

from onnx_lobs.cli.main import main


@pytest.fixture(autouse=True)
def _desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONNX_LOBS_COMPILED", "0")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "only")]
    proto = model(nodes, [value("x", ["n", 64])], [value("y", ["n", 10])], {"w": normal(1, 64, 10)})
    onnx.save(proto, "my model.onnx")
    x = normal(2, 400, 64)
    np.savez("d.npz", x=x)
    np.savez("t.npz", x=x, label=run(proto, x=x)["y"].argmax(1))


def advice_of(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, list[str]]:
    """Return the commands that a run advises, by kind."""
    with pytest.raises(SystemExit) as exit_:
        main(["my model.onnx", *args, "--json"])
    assert exit_.value.code == 0
    found = json.loads(capsys.readouterr().out)["advice"]
    return {advice["kind"]: advice["command"] for advice in found}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "kind"),
    [
        (("-d", "d.npz", "--test", "t.npz", "-s", "0.6", "--method", "magnitude"), "large drop"),
        (("-d", "d.npz", "-s", "0.3"), "int8"),
        (("-s", "0.3"), "made-up data"),
    ],
)
def test_a_command_runs_as_it_stands(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...], kind: str
) -> None:
    words = advice_of(capsys, *args)[kind]
    with pytest.raises(SystemExit) as exit_:
        main([word.replace("DATA", "d.npz") for word in words[1:]])
    assert exit_.value.code in (0, 1)  # a target may be missed
    assert "error:" not in capsys.readouterr().err
