"""Runs side by side are the runs that prune makes."""

from __future__ import annotations

import json

import pytest
from build_onnx import normal, run, two_layers

import onnx_lobs
from onnx_lobs import PruneConfig
from onnx_lobs.report.comparison import Comparison, plot_comparison
from onnx_lobs.report.progress import ProgressCalls
from onnx_lobs.verbs.compare import compare_runs

X = normal(3, 128, 16)

pytestmark = pytest.mark.slow


def labelled() -> dict[str, object]:
    return {"x": X, "label": run(two_layers(), x=X)["y"].argmax(1)}


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare_runs(
        two_layers(),
        {"x": X},
        PruneConfig(allocation="uniform"),
        methods=("sparsegpt", "magnitude"),
        patterns=("unstructured", "2:4"),
        sparsities=(0.5, 0.75),
        test=labelled(),
    )


def test_every_combination_is_run_once(found: Comparison) -> None:
    assert [(r.method, r.pattern, r.sparsity) for r in found.runs] == [
        (method, pattern, sparsity)
        for method in ("sparsegpt", "magnitude")
        for pattern, sparsity in (("unstructured", 0.5), ("unstructured", 0.75), ("2:4", 0.5))
    ]


def test_whole_channels_are_compared_at_every_sparsity() -> None:
    config = PruneConfig(allocation="uniform", align=1)
    methods, patterns, shares = ("sparsegpt",), ("channels",), (0.2, 0.6)
    found = compare_runs(
        two_layers(), {"x": X}, config, methods=methods, patterns=patterns, sparsities=shares
    )
    fewer, more = found.runs
    assert fewer.pattern == more.pattern == "channels"
    assert fewer.gzip_bytes is not None
    assert more.gzip_bytes is not None
    assert more.gzip_bytes < fewer.gzip_bytes


def test_a_row_is_what_prune_reports(found: Comparison) -> None:
    report = onnx_lobs.prune(
        two_layers(), {"x": X}, test=labelled(), method="sparsegpt", sparsity=0.75,
        allocation="uniform",
    ).report  # fmt: skip
    row = found.runs[1]
    assert report.output.score is not None
    assert (row.output_error, row.score) == (report.output.error, report.output.score.after)
    assert row.zeros == report.totals.zeros
    assert row.gzip_bytes is not None
    assert row.gzip_bytes > 0


def test_lines_of_the_plot_are_methods_with_their_patterns(found: Comparison) -> None:
    svg = plot_comparison(found)
    for name in ("sparsegpt", "sparsegpt 2:4", "magnitude", "magnitude 2:4", "top1"):
        assert f">{name}</text>" in svg


def test_the_record_is_json(found: Comparison) -> None:
    record = json.loads(found.to_json())
    assert [run["sparsity"] for run in record["runs"]][:3] == [0.5, 0.75, 0.5]
    assert record["dense_score"] == 1.0


def test_phases_tell_which_of_the_ways_it_is() -> None:
    phases: list[str] = []
    compare_runs(
        two_layers(), {"x": X}, PruneConfig(), methods=("magnitude",), sparsities=(0.5, 0.6),
        progress=ProgressCalls(lambda phase, done, total: phases.append(phase)),
    )  # fmt: skip
    assert any(phase.startswith("way 2 of 2, 1 of 2: calibrating") for phase in phases)
