"""The sparsest network that meets a target: the search, the limits, the file and the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from budget_networks import chain, data
from build_onnx import model, normal, value
from onnx import TensorProto, helper
from rich.console import Console

import onnx_lobs
from onnx_lobs.cli.main import main
from onnx_lobs.errors import ConfigError
from onnx_lobs.evaluation.confidence import least_upper
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.report.text import render_report
from onnx_lobs.search.bracket import RUNS
from onnx_lobs.storage.formats import FORMATS
from onnx_lobs.storage.sizes import encoded_bytes, expected_bytes
from onnx_lobs.verbs import prune as pipeline
from onnx_lobs.verbs.prune import prune_file

OPTIONS: dict[str, Any] = {"min_weights": 8, "batch_size": 32, "effort": "fast"}


def labelled(n: int = 320) -> dict[str, Any]:
    arrays = data(n, seed=1)
    session = onnx_session()
    return {**arrays, "label": session(arrays["x"]).argmax(axis=1)}


def onnx_session() -> Any:
    import onnxruntime as ort

    session = ort.InferenceSession(chain().SerializeToString())
    return lambda x: session.run(None, {"x": x})[0]


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("max_drop", [0.02, 0.3])
def test_test_data_too_few_for_the_limit_are_warned_of(max_drop: float) -> None:
    # of 40 samples, one is 0.025
    options = {**OPTIONS, "max_drop": max_drop}
    report = onnx_lobs.prune(chain(), data(), test=labelled(40), **options).report
    told = [text for text in report.warnings if f"hardly tell a drop of {max_drop:g} (" in text]
    assert bool(told) == (max_drop == 0.02)


@pytest.mark.slow
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


@pytest.mark.slow
def test_max_output_error_is_kept_by_the_model_that_is_returned() -> None:
    result = onnx_lobs.prune(chain(), data(), max_output_error=0.01, **OPTIONS)
    assert result.report.target is not None
    assert result.report.target.is_met
    import onnxruntime as ort

    x = data()["x"]
    session = ort.InferenceSession(result.model.SerializeToString())
    dense, pruned = onnx_session()(x), session.run(None, {"x": x})[0]
    error = np.square(pruned - dense).sum() / np.square(dense).sum()
    output = result.report.output
    assert output.error is not None
    assert output.fitted_error is not None
    assert output.error <= 0.01  # on the samples that nothing was fitted to
    low, high = sorted((output.error, output.fitted_error))
    assert low * (1 - 1e-3) <= error <= high * (1 + 1e-3)  # float32 sums


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.6, 0.9])
def test_the_size_that_is_expected_is_that_of_zeros_spread_evenly(
    dtype: Any, sparsity: float
) -> None:
    kind = TensorProto.FLOAT16 if dtype == np.float16 else TensorProto.FLOAT
    weight = normal(1, 300, 200).astype(dtype)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    outputs = [value("y", ["n", 200], kind)]
    proto = model(nodes, [value("x", ["n", 300], kind)], outputs, {"w": weight})
    expected = expected_bytes(proto, ["w"], FORMATS["sparse"])(sparsity)
    weight[np.random.default_rng(3).random(weight.shape) < sparsity] = 0
    written = model(nodes, [value("x", ["n", 300], kind)], outputs, {"w": weight})
    found = encoded_bytes(written, ["w"], FORMATS["sparse"])
    assert expected == pytest.approx(found, rel=0.02)  # the draw's share


def test_a_size_in_bytes_counts_external_data(tmp_path: Path) -> None:
    table = normal(1, 500, 8)
    nodes = [
        helper.make_node("Gather", ["table", "i"], ["x"]),
        helper.make_node("MatMul", ["x", "w"], ["y"], name="layer"),
    ]
    weights = {"table": table, "w": normal(2, 8, 500)}
    proto = model(nodes, [value("i", ["n"], TensorProto.INT64)], ["y"], weights)
    path = tmp_path / "m.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="m.data", size_threshold=100)
    limit = table.nbytes + 14_000
    options = {**OPTIONS, "max_bytes": limit, "storage": "sparse", "batch_size": 8}
    config = PruneConfig(**options)
    data = {"i": np.arange(64) % 500}
    output = tmp_path / "out" / "o.onnx"
    output.parent.mkdir()
    report = prune_file(path, output, config, data=data)
    assert report.target is not None
    assert report.target.is_met
    sizes = sum(file.stat().st_size for file in output.parent.iterdir())
    best = next(r for r in report.target.runs if r["sparsity"] == report.target.sparsity)
    assert sizes <= limit
    assert best["bytes"] == pytest.approx(sizes, rel=0.01)  # what aligns external data


def test_a_target_that_cannot_be_measured_is_refused_after_one_run() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("ArgMax", ["h"], ["y"], axis=1, keepdims=0),
    ]
    out = value("y", ["n"], TensorProto.INT64)
    proto = model(nodes, [value("x", ["n", 16])], [out], {"w": normal(1, 16, 8)})
    with pytest.raises(ConfigError, match="max output error needs an output error, and there is"):
        onnx_lobs.prune(proto, {"x": normal(2, 64, 16)}, max_output_error=0.1, **OPTIONS)


def test_labels_beside_the_model_that_cannot_be_scored_are_no_score(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(chain().SerializeToString())
    np.savez(tmp_path / "m_test.npz", **data(40), label=np.full(40, 77))
    with pytest.raises(ConfigError, match="max drop needs a score, and there is none: the label"):
        onnx_lobs.prune(path, data(), max_drop=0.01, **OPTIONS)


def test_a_best_effort_that_exists_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, samples = written(tmp_path)
    (tmp_path / "o_best_effort.onnx").write_bytes(b"")
    monkeypatch.setattr(pipeline, "run_whole", None)
    config = PruneConfig(max_output_error=1e-9)
    with pytest.raises(ConfigError, match=r"o_best_effort.onnx.* exists"):
        prune_file(path, tmp_path / "o.onnx", config, data=samples)
