"""A run keeps within its time by leaving out trials, says so, and without a limit is the same."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from budget_networks import chain, data

import onnx_lobs

SHORT = 1e-3  # seconds: no run is done in that
LONG = 1e4


def prune(**options: Any) -> onnx_lobs.PruneResult:
    usual = {"sparsity": 0.6, "min_weights": 8, "batch_size": 16}
    return onnx_lobs.prune(chain(), data(), **{**usual, **options})


def zeros(result: onnx_lobs.PruneResult) -> int:
    return sum(layer.zeros for layer in result.report.layers)


@pytest.mark.slow
def test_a_run_without_time_solves_every_layer_and_says_what_it_left_out() -> None:
    result = prune(time=SHORT)
    warnings = " ".join(result.report.warnings)
    assert "--time 0.001s left no time for measuring the layers, and all trials" in warnings
    assert "longer than --time 0.001s: solving the layers is never cut" in warnings
    assert zeros(result) == zeros(prune(allocation="uniform"))


@pytest.mark.slow
def test_time_enough_changes_no_byte_and_warns_of_nothing() -> None:
    plain, timed = prune(), prune(time=LONG)
    same = [onnx.ModelProto.SerializeToString(x.model, deterministic=True) for x in (plain, timed)]
    assert same[0] == same[1]
    assert not any("--time" in warning for warning in timed.report.warnings)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_however_fast_the_machine_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = prune()
    monkeypatch.setattr("onnx_lobs.search.clock.SPEED", 1.0)
    monkeypatch.setattr("onnx_lobs.search.clock.CAUTION", 1e9)
    assert first.model == prune().model


@pytest.mark.slow
def test_trials_and_finals_that_are_cut_leave_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    allowance = "onnx_lobs.search.allowance.Allowance"
    monkeypatch.setattr(f"{allowance}.has_time_to_try", lambda self: False)
    monkeypatch.setattr(f"{allowance}.has_time_for_finals", lambda self, share: False)
    result = prune(time=LONG)
    record = result.report.allocation
    assert record is not None
    assert record.trials == 0
    assert record.chosen.startswith("half-way from uniform to ")
    assert record.left_out.endswith(" trials and the finals")
    assert any("trials and the finals" in warning for warning in result.report.warnings)
    assert zeros(result) == zeros(prune(allocation="uniform"))


@pytest.mark.slow
def test_finals_remain_with_the_default_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx_lobs.search.contest.REACH", float("inf"))
    record = prune().report.allocation
    assert record is not None
    assert len(record.finals) >= 2
    assert record.left_out == ""


@pytest.mark.slow
def test_a_search_ends_with_its_time_at_the_best_run_so_far() -> None:
    whole = prune(sparsity=None, max_output_error=0.2).report
    cut = prune(sparsity=None, max_output_error=0.2, time=SHORT).report
    assert whole.target is not None
    assert cut.target is not None
    assert len(cut.target.runs) == 1 < len(whole.target.runs)
    assert any("ended the search after 1 of up to 6 runs" in warning for warning in cut.warnings)
    assert not any("ended the search" in warning for warning in whole.warnings)


@pytest.mark.slow
def test_zeros_chosen_in_haste_are_taken_up_with_the_same_limit_alone(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    finals = "onnx_lobs.search.allowance.Allowance.has_time_to_try"
    with monkeypatch.context() as hasty:
        hasty.setattr(finals, lambda self: False)
        cut = prune(time=LONG, cache=str(tmp_path))
    assert cut.report.allocation is not None
    assert cut.report.allocation.left_out
    again = prune(time=LONG, cache=str(tmp_path)).report.allocation
    assert again == cut.report.allocation
    free = prune(time=2 * LONG, cache=str(tmp_path)).report.allocation
    assert free is not None
    assert not free.left_out
