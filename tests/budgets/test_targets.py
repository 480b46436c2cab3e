"""The sparsest network that meets a target: the search, the limits, the file and the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from budget_networks import chain, data
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import onnx_lobs
from onnx_lobs.budgets.targets import FACTOR, RUNS, find_sparsest
from onnx_lobs.cli.main import main
from onnx_lobs.errors import ConfigError
from onnx_lobs.evaluation.confidence import least_upper
from onnx_lobs.report.text import render_report

OPTIONS: dict[str, Any] = {"min_weights": 8, "batch_size": 32, "effort": "fast"}


@given(st.floats(0.06, 0.999))
def test_what_is_found_is_met_and_close_to_the_last_that_is(limit: float) -> None:
    tried: list[float] = []

    def meets(sparsity: float) -> bool:
        tried.append(sparsity)
        return sparsity <= limit

    found = find_sparsest(meets)
    assert len(tried) <= RUNS
    assert len(set(tried)) == len(tried)
    assert found == max((s for s in tried if s <= limit), default=None)
    if found is not None and found < max(tried):
        # until it is missed each run keeps FACTOR of the weights of the last; from then on each
        # halves the interval in the logarithm of what is kept
        first = next(place for place, sparsity in enumerate(tried) if sparsity > limit)
        left = FACTOR**0.5 ** (RUNS - 1 - first)
        assert (1 - limit) >= left * (1 - found) * (1 - 1e-9) or limit < 0.5
        assert len(tried) == RUNS


def test_a_target_that_nothing_meets_ends_the_search() -> None:
    tried: list[float] = []
    assert find_sparsest(lambda s: bool(tried.append(s))) is None
    assert len(tried) < RUNS


def labelled(n: int = 320) -> dict[str, Any]:
    arrays = data(n, seed=1)
    session = onnx_session()
    return {**arrays, "label": session(arrays["x"]).argmax(axis=1)}


def onnx_session() -> Any:
    import onnxruntime as ort

    session = ort.InferenceSession(chain().SerializeToString())
    return lambda x: session.run(None, {"x": x})[0]


def test_max_drop_is_kept_and_a_larger_one_gives_more_zeros() -> None:
    found = [
        onnx_lobs.prune(chain(), data(), test=labelled(), max_drop=drop, **OPTIONS).report
        for drop in (0.02, 0.3)
    ]
    for report, drop in zip(found, (0.02, 0.3), strict=True):
        assert report.target is not None
        assert report.target.is_met
        assert report.output.score is not None
        score = report.output.score
        assert score.drop_error is not None
        assert score.drop_below is not None
        assert score.drop_below <= drop
        # of what was tried, the sparsest that keeps the limit with 95 % confidence
        good = [run["sparsity"] for run in report.target.runs if run["drop_below"] <= drop]
        assert report.target.sparsity == max(good)
        assert report.target.sparsity == pytest.approx(report.totals.sparsity, abs=2e-3)
        console = Console(width=200)
        with console.capture() as shown:
            console.print(render_report(report))
        assert f"drop <= {drop:g} with 95 % confidence: met at" in shown.get()
    assert found[0].totals.zeros < found[1].totals.zeros


@pytest.mark.parametrize("max_drop", [0.02, 0.3])
def test_test_data_too_few_for_the_limit_are_warned_of(max_drop: float) -> None:
    # of 40 samples, one is 0.025
    options = {**OPTIONS, "max_drop": max_drop}
    report = onnx_lobs.prune(chain(), data(), test=labelled(40), **options).report
    told = [text for text in report.warnings if f"hardly tell a drop of {max_drop:g} (" in text]
    assert bool(told) == (max_drop == 0.02)


def test_few_samples_let_a_network_pass_that_looks_as_good_as_unchanged() -> None:
    # of 40 samples an unchanged network has an upper limit of .063, beyond this one
    labels = labelled(40)
    report = onnx_lobs.prune(chain(), data(), test=labels, max_drop=0.02, **OPTIONS).report
    assert report.target is not None
    assert report.output.score is not None
    assert report.target.is_met
    assert report.output.score.drop_below == pytest.approx(least_upper(40), abs=1e-9)
    shown = Console(width=200)
    with shown.capture() as text:
        shown.print(render_report(report))
    assert "drop <= 0.02 as far as so few samples tell" in text.get()
    worse = [run for run in report.target.runs if run["drop_below"] > least_upper(40) + 1e-9]
    assert all(run["sparsity"] > report.target.sparsity for run in worse)
    assert worse


def test_max_output_error_is_kept_by_the_model_that_is_returned() -> None:
    result = onnx_lobs.prune(chain(), data(), max_output_error=0.01, **OPTIONS)
    assert result.report.target is not None
    assert result.report.target.is_met
    import onnxruntime as ort

    x = data()["x"]
    session = ort.InferenceSession(result.model.SerializeToString())
    dense, pruned = onnx_session()(x), session.run(None, {"x": x})[0]
    error = np.square(pruned - dense).sum() / np.square(dense).sum()
    assert error <= 0.01
    assert error == pytest.approx(result.report.output.error, rel=1e-3)  # float32 sums


def test_every_run_is_recorded_and_the_best_is_the_sparsest_that_is_met() -> None:
    report = onnx_lobs.prune(chain(), data(), max_output_error=0.01, **OPTIONS).report
    assert report.target is not None
    met = [run["sparsity"] for run in report.target.runs if run["output_error"] <= 0.01]
    assert report.target.sparsity == max(met)
    assert len(report.target.runs) == RUNS


def written(tmp_path: Path) -> tuple[Path, Path]:
    path, samples = tmp_path / "m.onnx", tmp_path / "samples.npz"
    path.write_bytes(chain(wide=True).SerializeToString())
    np.savez(samples, **data())  # type: ignore[arg-type]
    return path, samples


def test_max_bytes_gives_a_file_just_small_enough(tmp_path: Path) -> None:
    path, samples = written(tmp_path)
    limit = path.stat().st_size // 2
    with pytest.raises(SystemExit) as end:
        main([str(path), "-d", str(samples), "--max-bytes", str(limit), "--format", "sparse",
              "--effort", "fast", "--report", str(tmp_path / "r.json")])  # fmt: skip
    assert end.value.code == 0
    size = (tmp_path / "m_pruned.onnx").stat().st_size
    assert 0.97 * limit <= size <= limit
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["target"]["is_met"]
    assert record["target"]["runs"][-1]["bytes"] <= limit


def test_a_target_that_is_missed_gets_a_name_of_its_own_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, samples = written(tmp_path)
    with pytest.raises(SystemExit) as end:
        main([str(path), "-d", str(samples), "--max-output-error", "0", "--effort", "fast"])
    assert end.value.code == 1
    assert not (tmp_path / "m_pruned.onnx").exists()
    assert (tmp_path / "m_pruned_best_effort.onnx").exists()
    assert "MISSED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": 0.1, "sparsity": 0.5}, "leave out --sparsity, or the target"),
        ({"max_drop": 0.1}, "needs a score of labelled data"),
        ({"max_output_error": 0.1, "pattern": "2:4"}, "has one count of zeros"),
        ({"max_bytes": 1000}, "add --format sparse"),
        ({"max_drop": -0.1}, "max_drop is -0.1; it must be a finite number >= 0"),
        ({"max_output_error": float("nan")}, "max_output_error is nan"),
        ({"max_bytes": 0}, "max_bytes is 0; it must be at least 1"),
    ],
)
def test_targets_that_cannot_be_searched_for_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        onnx_lobs.prune(chain(), data(), min_weights=8, **options)


def test_a_search_stops_at_the_largest_sparsity_that_is_possible() -> None:
    tried: list[float] = []
    assert find_sparsest(lambda s: tried.append(s) or True, most=0.7) == 0.7
    assert tried == [0.5, 0.7]
