"""A dry run finds what a run would find, tells its stages, and estimates from one batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import normal, two_layers

from onnx_lobs import ConfigError, DataError, PruneConfig
from onnx_lobs.report.progress import ProgressCalls
from onnx_lobs.verbs.dry_run import dry_run
from onnx_lobs.verbs.prune import prune_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    proto = two_layers()
    onnx.save(proto, tmp_path / "m.onnx")
    x = normal(3, 64, 16)
    np.savez(tmp_path / "m.npz", x=x)
    labels = np.random.default_rng(4).integers(0, 10, 64)
    np.savez(tmp_path / "m_test.npz", x=x, label=labels)
    return tmp_path / "m.onnx"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"method": "magnitude"}, {"method": "magnitude", "retrain": 2, "seed": 1}]
)
def test_its_stages_are_those_of_the_run(path: Path, options: dict[str, Any]) -> None:
    config = PruneConfig(**options)
    plan = dry_run(path, path.with_name("o.onnx"), config)
    seen: list[str] = []
    told = ProgressCalls(lambda phase, done, total: seen.append(phase))
    prune_file(path, path.with_name("o.onnx"), config, progress=told)
    counted = dict.fromkeys(
        phase.partition(": ")[2].partition(" (")[0] for phase in seen if " of " in phase
    )
    assert [stage.name for stage in plan.stages] == list(counted)


def test_it_tells_what_is_pruned_on_what_and_how(path: Path) -> None:
    plan = dry_run(path, path.with_name("o.onnx"), PruneConfig(sparsity=0.75, batch_size=16))
    assert (plan.layers, plan.weights, plan.zeros) == (2, 624, 468)
    assert (plan.samples, plan.batches) == (64, 4)
    assert plan.seconds > 0
    assert plan.batch_seconds > 0
    assert not plan.output.endswith("m.onnx")


def test_a_target_may_take_several_runs_and_decides_the_zeros(path: Path) -> None:
    plan = dry_run(path, path.with_name("o.onnx"), PruneConfig(max_output_error=0.1))
    assert plan.zeros is None
    assert plan.most_runs > 1


@pytest.mark.slow
def test_samples_and_batch_size_decide_the_batches(path: Path) -> None:
    few = dry_run(path, path, PruneConfig(samples=8, batch_size=1))
    many = dry_run(path, path, PruneConfig(batch_size=1))
    assert many.batches == 8 * few.batches


def test_what_is_wrong_is_found_by_it_too(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sparsity 0\.5 is given and a target too"):
        dry_run(path, path, PruneConfig(sparsity=0.5, max_output_error=0.1))
    with pytest.raises(DataError):
        dry_run(path, path, PruneConfig(), data=path.with_name("gone.npz"))
    with pytest.raises(ConfigError, match="rounds retrain in between"):
        dry_run(path, path, PruneConfig(rounds=(0.5,)))
    with pytest.raises(DataError, match="one is held out"):
        dry_run(path, path, PruneConfig(retrain=2, samples=1))
    with pytest.raises(ConfigError, match="--optimise size says how C code stores weights"):
        dry_run(path, path, PruneConfig(optimise="size"))
    with pytest.raises(ConfigError, match="activations int8 need int8 weights"):
        dry_run(path, path, PruneConfig(activations="int8"))
    with pytest.raises(ConfigError, match="nothing fits ram=10b: the values between layers take"):
        dry_run(path, path, PruneConfig(target="c", chip="ram=10b", sparsity=0.5))


def test_moving_weights_behind_pruning_takes_time(path: Path) -> None:
    plans = [
        dry_run(path, path, PruneConfig(**options))
        for options in ({}, {"retrain": 50}, {"refit_blocks": True})
    ]
    added = [{stage.name for stage in plan.stages} for plan in plans]
    assert added[1] - added[0] == {"retraining", "evaluating what was retrained"}
    assert added[2] - added[0] == {"fitting blocks", "evaluating the blocks"}
    assert all(stage.seconds > 0 for plan in plans[1:] for stage in plan.stages[-4:-1])
