"""A run prunes and retrains, once or in rounds: zeros stay, and both states are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import run
from retrained_networks import X, network, tensors

import onnx_lobs
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.report.progress import ProgressCalls
from onnx_lobs.report.summary import round_words
from onnx_lobs.run.deliver import PROVENANCE
from onnx_lobs.run.networks import Networks

DATA = {"x": X}
ALONE: dict[str, Any] = {"min_weights": 1, "allocation": "uniform", "method": "magnitude"}
QUICK: dict[str, Any] = {**ALONE, "retrain_move": "all"}
SAME = 1e-5  # float32, summed up in another order


def labels() -> np.ndarray:
    """Return the dense network's choices."""
    choices: np.ndarray = run(network(), **DATA)["y"].argmax(1)
    return choices


def relative_error(proto: onnx.ModelProto, x: np.ndarray) -> float:
    """Return the mean squared change of a model's outputs over the mean square."""
    dense, other = (run(one, x=x)["y"] for one in (network(), proto))
    return float(np.square(dense - other).sum() / np.square(dense).sum())


def test_one_run_prunes_then_retrains_and_tells_both() -> None:
    test = {**DATA, "label": labels()}
    alone = onnx_lobs.prune(network(), DATA, test=test, sparsity=0.5, **ALONE)
    both = onnx_lobs.prune(network(), DATA, test=test, sparsity=0.5, retrain=40, **QUICK)
    old, new = tensors(alone.model), tensors(both.model)
    for name in ("w1", "w2", "w3"):
        np.testing.assert_array_equal(old[name] == 0, new[name] == 0)
        assert (old[name] != new[name]).any()
    (record,) = both.report.rounds
    assert record.error_before == pytest.approx(alone.report.output.error, rel=SAME)
    assert record.error_after == both.report.output.error
    assert record.error_after is not None
    assert record.error_before is not None
    assert record.error_after < record.error_before
    scores = record.score_before, alone.report.output.score
    assert scores[0] == scores[1]
    assert record.score_after == both.report.output.score
    assert record.losses[0][0] == 0
    # what the report says of the held-out samples holds for the model that is returned
    held = np.concatenate([X[start : start + 32] for start in range(288, len(X), 320)])
    assert relative_error(both.model, held) == pytest.approx(record.error_after, rel=SAME)
    props = {entry.key: entry.value for entry in both.model.metadata_props}
    assert props[PROVENANCE].endswith("retrain=40")


@pytest.mark.slow
def test_labels_in_the_data_are_learnt() -> None:
    data = {**DATA, "label": labels()}
    (record,) = onnx_lobs.prune(network(), data, sparsity=0.5, retrain=5, **QUICK).report.rounds
    assert record.towards == "labels"
    options = {**QUICK, "retrain_towards": "outputs"}
    (record,) = onnx_lobs.prune(network(), data, sparsity=0.5, retrain=5, **options).report.rounds
    assert record.towards == "outputs"


@pytest.mark.slow
def test_zeros_stay_from_round_to_round() -> None:
    first = onnx_lobs.prune(network(), DATA, rounds=(0.4,), retrain=20, **QUICK)
    both = onnx_lobs.prune(network(), DATA, rounds=(0.4, 0.7), retrain=20, **QUICK)
    one, two = tensors(first.model), tensors(both.model)
    for name in ("w1", "w2", "w3"):
        assert (two[name][one[name] == 0] == 0).all()
        assert (two[name] == 0).sum() > (one[name] == 0).sum()
    assert [round(record.sparsity, 1) for record in both.report.rounds] == [0.4, 0.7]
    assert both.report.rounds[0] == first.report.rounds[0].__class__(
        **{**vars(first.report.rounds[0]), "seconds": both.report.rounds[0].seconds}
    )
    # the error of the last round is against the original network
    held = np.concatenate([X[start : start + 32] for start in range(288, len(X), 320)])
    error = both.report.rounds[1].error_after
    assert relative_error(both.model, held) == pytest.approx(error, rel=SAME)


@pytest.mark.slow
def test_a_run_prunes_on_while_it_retrains_and_tells_the_zeros_of_the_end() -> None:
    options = {**QUICK, "sparsity": 0.4, "retrain": 30}
    first = onnx_lobs.prune(network(), DATA, **options)
    found = onnx_lobs.prune(network(), DATA, retrain_sparsity=0.7, **options)
    one, two = tensors(first.model), tensors(found.model)
    names = ("w1", "w2", "w3")
    for name in names:
        assert (two[name][one[name] == 0] == 0).all()
    counts = [int((two[name] == 0).sum()) for name in names]
    n_all = sum(two[name].size for name in names)
    assert sum(counts) == n_all - round(0.3 * n_all)
    assert [record.zeros for record in found.report.layers] == counts
    assert found.report.totals.zeros == sum(counts)
    (record,) = found.report.rounds
    assert record.sparsity == sum(counts) / n_all
    assert record.pruned == first.report.rounds[0].sparsity
    assert first.report.rounds[0].pruned is None
    assert round_words(record).startswith("39.77 -> 69.89 % zeros, 30 steps")
    assert record.weights == n_all - sum(counts)
    assert not [text for text in found.report.warnings if "% of the weights are zero" in text]
    work = found.report.totals.multiplications, first.report.totals.multiplications
    assert work[0] is not None
    assert work[1] is not None
    assert work[0][1] < work[1][1] < work[0][0]
    props = {p.key: p.value for p in found.model.metadata_props}
    assert props[PROVENANCE].endswith("retrain=30 retrain_sparsity=0.7")


@pytest.mark.slow
@pytest.mark.parametrize("score", ["agreement", "cosine"])
def test_scores_of_all_rounds_compare_with_the_original(score: str) -> None:
    found = onnx_lobs.prune(
        network(), DATA, test=DATA, score=score, rounds=(0.4, 0.7), retrain=5, **QUICK
    )
    last = found.report.rounds[1].score_after
    assert last is not None
    dense, other = (run(one, **DATA)["y"] for one in (network(), found.model))
    if score == "agreement":
        expected = float((dense.argmax(1) == other.argmax(1)).mean())
    else:
        norms = np.linalg.norm(dense, axis=1) * np.linalg.norm(other, axis=1)
        expected = float(((dense * other).sum(1) / norms).mean())
    assert last.after == pytest.approx(expected, abs=SAME)


@pytest.mark.slow
def test_few_samples_are_judged_by_the_delivered_fit_alone() -> None:
    few = {"x": X[:48]}
    options = {**ALONE, "sparsity": 0.5, "batch_size": 4}
    alone = onnx_lobs.prune(network(), few, **options)
    assert alone.report.output.n_fits > 1
    found = onnx_lobs.prune(network(), few, retrain=5, retrain_move="all", **options)
    (record,) = found.report.rounds
    assert found.report.output.n_fits == 1
    held = X[36:40]  # the tenth batch
    assert relative_error(alone.model, held) == pytest.approx(record.error_before, rel=SAME)
    assert relative_error(found.model, held) == pytest.approx(record.error_after, rel=SAME)


@pytest.mark.slow
def test_channels_are_removed_and_the_rest_is_retrained() -> None:
    options = {**QUICK, "pattern": "channels", "align": 1}
    found = onnx_lobs.prune(network(), DATA, sparsity=0.4, retrain=20, **options)
    (record,) = found.report.rounds
    assert record.error_after is not None
    assert record.error_before is not None
    assert record.error_after < record.error_before
    assert tensors(found.model)["w1"].size < tensors(network())["w1"].size


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"channels": 0.3, "align": 1}, {"drop_empty": True}])
@pytest.mark.parametrize("rounds", [None, (0.4, 0.7)])
def test_channels_that_go_first_or_are_empty_go_too(options: Any, rounds: Any) -> None:
    chosen = {"sparsity": 0.5} if rounds is None else {"rounds": rounds}
    found = onnx_lobs.prune(network(), DATA, retrain=5, **QUICK, **chosen, **options)
    error = found.report.rounds[-1].error_after
    held = np.concatenate([X[start : start + 32] for start in range(288, len(X), 320)])
    assert relative_error(found.model, held) == pytest.approx(error, rel=SAME)


@pytest.mark.slow
def test_stages_are_counted() -> None:
    calls = ProgressCalls(lambda phase, done, total: phases.append(phase))
    phases: list[str] = []
    onnx_lobs.prune(network(), DATA, rounds=(0.4, 0.7), retrain=2, progress=calls, **QUICK)
    told = list(dict.fromkeys(phases))
    assert "3 of 4: retraining" in told
    assert "run 2, 3 of 4: retraining" in told


@pytest.mark.slow
def test_a_cache_gives_back_what_was_retrained(tmp_path: Path) -> None:
    options = {**QUICK, "rounds": (0.4, 0.7), "retrain": 10, "cache": str(tmp_path / "c")}
    calls: list[list[str]] = []

    def models() -> onnx.ModelProto:
        phases: list[str] = []
        told = ProgressCalls(lambda phase, done, total: phases.append(phase))
        found = onnx_lobs.prune(network(), DATA, progress=told, **options)
        calls.append([phase for phase in phases if phase.endswith("retraining")])
        return found.model

    one, two = models(), models()
    assert one.SerializeToString() == two.SerializeToString()
    assert calls[0]
    assert not calls[1]
    options["retrain_rate"] = 0.1
    assert models().SerializeToString() != one.SerializeToString()
    assert calls[2]


@pytest.mark.parametrize(
    ("data", "options", "error", "match"),
    [
        (
            DATA,
            {"retrain": 2, "target": "c"},
            ConfigError,
            "int8, which --target c takes, are rounded before it; take --values fp32",
        ),
        (
            DATA,
            {"retrain_rate": 0.1},
            ConfigError,
            "--retrain-rate says how weights are retrained; add --retrain 200",
        ),
        (DATA, {"rounds": (0.4, 0.7)}, ConfigError, "rounds retrain in between; add --retrain"),
        (DATA, {"rounds": (0.7, 0.4), "retrain": 2}, ConfigError, "each must be above the one"),
        (DATA, {"rounds": (), "retrain": 2}, ConfigError, "rounds are none"),
        (DATA, {"rounds": (0.4, 1.0), "retrain": 2}, ConfigError, "below 1"),
        (DATA, {"rounds": (0.4,), "retrain": 2, "sparsity": 0.4}, ConfigError, "name all"),
        (DATA, {"rounds": (0.4,), "retrain": 2, "max_drop": 0.1}, ConfigError, "name all"),
        (DATA, {"rounds": (0.4,), "retrain": 2, "pattern": "2:4"}, ConfigError, "has one round"),
        (
            DATA,
            {"retrain": 2, "values": "int8"},
            ConfigError,
            "and values int8 are rounded before it; take --values fp32",
        ),
        (DATA, {"retrain": 2, "bound": True}, ConfigError, "leave out --bound"),
        (
            DATA,
            {"retrain": 2, "rounds": (0.4,), "retrain_sparsity": 0.8},
            ConfigError,
            "rounds and limits choose that too",
        ),
        (
            DATA,
            {"retrain": 2, "pattern": "2:4", "retrain_sparsity": 0.8},
            ConfigError,
            "0.8 takes single weights, which breaks pattern 2:4",
        ),
        (
            DATA,
            {"retrain": 2, "retrain_sparsity": 0.8, "retrain_move": "biases"},
            ConfigError,
            "biases alone move; take --retrain-move all",
        ),
        (
            {"x": X[:100]},
            {"retrain": 2, "retrain_sparsity": 0.8},
            DataError,
            "of .. samples biases alone learn; give 512 or more, or take --retrain-move all",
        ),
        (DATA, {"retrain_sparsity": 0.8}, ConfigError, "--retrain-sparsity says how"),
        (
            DATA,
            {"retrain": 2, "retrain_sparsity": 0.4, "sparsity": 0.5, "retrain_move": "all"},
            ConfigError,
            "0.4 is to be reached in retraining, and 0.5 of the weights are zero already",
        ),
        (DATA, {"retrain": 0}, ConfigError, "retrain is 0; it must be at least 1"),
        (None, {"retrain": 2}, DataError, "behind pruning needs samples"),
        (
            DATA,
            {"rounds": (0.4,), "retrain": 2, "refit_blocks": True},
            ConfigError,
            "whole networks",
        ),
        (DATA, {"refit_blocks": True, "values": "fp16"}, ConfigError, "--refit-blocks moves"),
        ({"x": X[:1]}, {"retrain": 2}, DataError, "1 samples make one batch, and one"),
        (DATA, {"retrain": 2, "retrain_towards": "labels"}, ConfigError, "has none; add an array"),
    ],
)
def test_what_cannot_be_done_is_refused(
    data: Any, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        onnx_lobs.prune(network(), data, **{**ALONE, **options})


def test_a_model_that_runs_in_stages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Networks, "is_staged", property(lambda self: True))
    with pytest.raises(ConfigError, match="runs it as a whole; give more --memory"):
        onnx_lobs.prune(network(), DATA, sparsity=0.5, retrain=2, **QUICK)
