"""The verb evaluate: streams, limits, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from build_onnx import model, normal, value
from onnx import helper

import onnx_lobs
from onnx_lobs.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run ``evaluate a.onnx b.onnx`` with further arguments, in the folder of the models."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    weight = normal(1, 16, 8)
    for name, factor in (("a", 1.0), ("b", 0.0)):
        weight[:, 0] *= factor
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        proto = model([node], [value("x", ["n", 16])], ["y"], {"w": weight})
        onnx.save(proto, tmp_path / f"{name}.onnx")
    labels = (normal(2, 50, 16) @ weight).argmax(1)
    np.savez(tmp_path / "data.npz", x=normal(2, 50, 16), label=labels)
    np.savez(tmp_path / "bare.npz", x=normal(2, 50, 16))
    (tmp_path / "s.py").write_text("def score(run, batches):\n    return 1 / len(batches)\n")

    def run(*args: str) -> tuple[int, str, str]:
        given = args if args and args[0].endswith(".onnx") else ("a.onnx", "b.onnx", *args)
        with pytest.raises(SystemExit) as exit_:
            main(["evaluate", *given])
        assert isinstance(exit_.value.code, int)
        out, err = capfd.readouterr()
        return exit_.value.code, out, err.removeprefix("comparing\n")  # the line of its stage

    return run


def test_a_table_and_figures_go_to_stdout(run: Run) -> None:
    code, out, err = run("-d", "data.npz")
    assert (code, err) == (0, "")
    for words in ("outputs", "cosine", "output error", "top-1 score", "top-5 score", "12.5 %"):
        assert words in out
    assert "\x1b" not in out


def test_json_is_all_there_is_on_stdout_and_misses_go_to_stderr(run: Run) -> None:
    code, out, err = run("-d", "data.npz", "--json", "--max-output-error", "0.001", "--check")
    record = json.loads(out)
    assert code == 1
    assert err == f"missed: {record['missed'][0]}\n"
    figures = {"weights": 128, "zeros": 16, "multiplications": 112, "sparsity": 0.125}
    assert record["pruned"] == {"model": "b.onnx", **figures}


@pytest.mark.parametrize(
    ("limit", "missed"),
    [
        (("--max-drop", "0.5"), False),
        (("--max-drop", "0"), False),
        (("--max-output-error", "0.9"), False),
        (("--max-output-error", "0.001"), True),
        (("--min-sparsity", "0.12"), False),
        (("--min-sparsity", "0.13"), True),
    ],
)
def test_check_turns_a_missed_limit_into_code_1(
    run: Run, limit: tuple[str, ...], missed: bool
) -> None:
    code, out, _ = run("-d", "data.npz", *limit)
    assert code == 0
    assert ("missed: " in out) is missed
    assert ("all limits are met" in out) is not missed
    assert run("-d", "data.npz", "--check", *limit)[0] == int(missed)


def test_quiet_prints_misses_and_warnings_alone(run: Run) -> None:
    code, out, err = run("-q", "--samples", "4", "--check", "--min-sparsity", "0.9")
    assert (code, out) == (1, "")
    warning, missed = err.splitlines()
    assert warning.startswith("warning: no calibration data were given")
    assert missed == "missed: 12.5 % of the weights are zero, fewer than 90 %"


def test_the_users_score_is_measured_on_the_data(run: Run) -> None:
    code, out, _ = run("-d", "bare.npz", "--score", "s.py:score", "--batch-size", "10", "--json")
    (score,) = json.loads(out)["scores"]
    assert code == 0
    assert (score["name"], score["before"], score["after"]) == ("s.py:score", 0.2, 0.2)


def test_the_record_is_written_besides_and_not_over_another(run: Run, tmp_path: Path) -> None:
    assert run("-d", "data.npz", "--report", "r.json")[0] == 0
    assert json.loads((tmp_path / "r.json").read_text())["samples"] == 50
    code, out, err = run("-d", "data.npz", "--report", "r.json")
    assert (code, out) == (2, "")
    assert "exists; name another, or give --overwrite" in err
    assert run("-d", "data.npz", "--report", "r.json", "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--check",), 2, "--check needs a limit: --max-drop, --max-output-error or --min-sp"),
        (("--max-drop", "-1"), 2, "max_drop is -1.0; it must be a finite number >= 0"),
        (("--max-drop", "1", "-d", "bare.npz"), 2, "max_drop is 1, but there is no score"),
        (("--score", "top9"), 2, "score 'top9' is unknown; did you mean 'top5'"),
        (("--score", "gone.py:f"), 2, "score 'gone.py:f': there is no Python file 'gone.py'"),
        (("--score", "s.py:f"), 2, "score 's.py:f': s.py has no function 'f'; it has score"),
        (("--batch-size", "0"), 2, "batch_size is 0; it must be at least 1"),
        (("a.onnx",), 2, "Missing argument 'PRUNED'; see onnx-lobs evaluate --help"),
        (("a.onnx", "c.onnx"), 3, "c.onnx does not exist"),
        (("--score", "top1", "-d", "bare.npz"), 4, "the test set bare.npz (50 samples) has no la"),
        (("-d", "gone.npz"), 4, "gone.npz does not exist; check the path"),
    ],
)
def test_what_is_wrong_takes_one_line(
    run: Run, args: tuple[str, ...], code: int, message: str
) -> None:
    found, out, err = run(*args)
    assert (found, out) == (code, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_a_score_that_raises_has_code_4(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def score(run):\n    return run({})\n")
    code, out, err = run("-d", "data.npz", "--score", "bad.py:score")
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert err.startswith("error: score bad.py:score raised InferenceError: onnxruntime failed")
    assert err.endswith("(bad.py, line 2)\n")


@pytest.mark.slow
def test_a_shell_gets_the_exit_code(run: Run, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "onnx_lobs", "evaluate", "a.onnx", "b.onnx", "-d", "data.npz"),
            *("--check", "--min-sparsity", "0.5", "--score", "cosine"),
        ],
        capture_output=True,
        check=False,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(onnx_lobs.__file__).parents[1])},
    )
    assert (done.returncode, done.stderr) == (1, "comparing\n")  # the line of its stage
    assert "missed: 12.5 % of the weights are zero" in done.stdout
