"""Channels go first and zeros follow, in one run whose figures are against the model as given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import coupled_networks as nets
import numpy as np
import onnx
import pytest
from build_onnx import run
from coupled_networks import batches_with_mean, samples
from onnx import ModelProto, numpy_helper
from typer.testing import CliRunner

import onnx_lobs
from onnx_lobs.arrays import Array
from onnx_lobs.cli.main import app
from onnx_lobs.errors import ConfigError
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.report.summary import summary_rows
from onnx_lobs.run.outcome import NOTHING_HELD
from onnx_lobs.targets.expect import FEWER_CHANNELS
from onnx_lobs.verbs.dry_run import dry_run
from onnx_lobs.verbs.prune import prune_file

SAME = 1e-6  # relative: the same run twice, from float32 weights
ERROR = 1e-4  # relative, of an output error of float32 outputs
BOTH: dict[str, Any] = {
    "channels": 0.3, "sparsity": 0.5, "align": 1, "allocation": "uniform", "positions": None,
    "min_weights": 0,
}  # fmt: skip


def network() -> ModelProto:
    chain = nets.Chain(1)
    x = chain.add("Relu", chain.conv("x", 16, 3, 3))
    x = chain.add("Relu", chain.conv(x, 16, 16, 3))
    return chain.proto(chain.conv(x, 4, 16, 3))


def batches(count: int = 10, n: int = 16) -> list[dict[str, Array]]:
    return batches_with_mean(4, count, n)


def classifier() -> tuple[ModelProto, dict[str, Array]]:
    """Return a network of five classes, and test data whose labels are what it says."""
    chain = nets.Chain(3)
    x = chain.add("Relu", chain.conv("x", 16, 3, 3))
    x = chain.add("Flatten", chain.add("GlobalAveragePool", chain.conv(x, 16, 16, 3)))
    proto = chain.proto(chain.add("Gemm", x, chain.normal(5, 16), chain.normal(5), transB=1))
    images = samples(n=300, seed=50)["x"]
    return proto, {"x": images, "label": run(proto, x=images)["y"].argmax(axis=1)}


def written(folder: Path) -> tuple[Path, Path]:
    """Write the network and its data; return their files."""
    source, data = folder / "m.onnx", folder / "x.npz"
    onnx.save(network(), source)
    np.savez(data, x=np.concatenate([each["x"] for each in batches()]))
    return source, data


def weights(proto: ModelProto) -> dict[str, Array]:
    return {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}


@pytest.fixture(scope="module")
def both() -> onnx_lobs.PruneResult:
    return onnx_lobs.prune(network(), batches(), **BOTH)


@pytest.mark.slow
def test_one_run_gives_what_two_runs_give(both: onnx_lobs.PruneResult) -> None:
    smaller = onnx_lobs.prune(
        network(), batches(), pattern="channels", sparsity=0.3, align=1, positions=None,
        allocation="uniform",
    ).model  # fmt: skip
    options = {k: v for k, v in BOTH.items() if k not in ("channels", "align")}
    expected = weights(onnx_lobs.prune(smaller, batches(), **options).model)
    found = weights(both.model)
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in expected.items()
    }
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=SAME, atol=SAME)


@pytest.mark.slow
def test_the_output_error_is_against_the_model_as_given(both: onnx_lobs.PruneResult) -> None:
    held = batches()[9::10]  # the last of ten is held out
    before, after = (
        np.concatenate([run(each, **feeds)["y"].astype(np.float64) for feeds in held])
        for each in (network(), both.model)
    )
    error = np.square(after - before).sum() / np.square(before).sum()
    assert both.report.output.n_held == len(before)
    assert both.report.output.error == pytest.approx(error, rel=ERROR)


@pytest.mark.slow
def test_the_report_tells_of_channels_and_of_zeros(both: onnx_lobs.PruneResult) -> None:
    report = both.report
    assert report.channels is not None
    assert report.channels.removed >= 0.3
    assert report.channels.then_zeros
    assert report.has_zeros
    assert report.totals.sparsity == pytest.approx(0.5, abs=0.01)
    rows = dict(summary_rows(report))
    assert "of the multiplications of the groups are gone" in str(rows["channels"])
    assert "(50.0 %)" in str(rows["zeros"])
    entry = next(p for p in both.model.metadata_props if p.key == "onnx_lobs")
    assert "sparsity=0.5" in entry.value
    assert "channels=0.3" in entry.value


@pytest.mark.slow
@pytest.mark.parametrize("score", ["top1", "agreement"])
def test_scores_are_against_the_model_as_given(score: str) -> None:
    proto, test = classifier()
    images, labels = test["x"], test["label"]
    result = onnx_lobs.prune(proto, batches(), test=test, score=score, **BOTH)
    found = result.report.output.score
    assert found is not None
    assert found.before == 1.0
    after = run(result.model, x=images)["y"].argmax(axis=1)
    assert found.after == pytest.approx((after == labels).mean())
    assert found.after < 1.0


@pytest.mark.slow
def test_a_limit_on_the_drop_finds_the_zeros_of_what_is_left() -> None:
    proto, test = classifier()
    options = {name: value for name, value in BOTH.items() if name != "sparsity"}
    report = onnx_lobs.prune(proto, batches(), test=test, max_drop=0.1, **options).report
    target, score, channels = report.target, report.output.score, report.channels
    assert target is not None
    assert score is not None
    assert channels is not None
    assert channels.removed >= 0.3
    assert len(target.runs) > 1
    assert len({each["sparsity"] for each in target.runs}) == len(target.runs)
    assert target.is_met
    assert score.before == 1.0
    assert score.drop <= 0.1
    assert report.totals.sparsity == pytest.approx(target.sparsity, abs=0.02)
    assert target.sparsity > 0.2


@pytest.mark.slow
def test_zeros_of_what_is_left_are_stored_sparse(tmp_path: Path) -> None:
    source, data = written(tmp_path)
    protos = {}
    for storage in ("dense", "sparse"):
        output = tmp_path / f"{storage}.onnx"
        options = {**BOTH, "sparsity": 0.9, "storage": storage, "batch_size": 16}
        prune_file(source, output, PruneConfig(**options), data=data)
        protos[storage] = onnx.load(output)
    sparse = protos["sparse"].graph.sparse_initializer
    shapes = {each.values.name: tuple(each.dims) for each in sparse}
    found = {name: value.shape for name, value in weights(protos["dense"]).items()}
    assert shapes
    assert shapes.items() <= found.items()
    assert any(found[name] != value.shape for name, value in weights(network()).items())
    one, other = (run(proto, x=samples()["x"])["y"] for proto in protos.values())
    np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_layer_that_is_skipped_only_without_its_channels_is_told() -> None:
    least = 16 * 3 * 3 * 3  # weights of the first one, before channels go
    options = {**BOTH, "min_weights": least}
    whole = onnx_lobs.prune(network(), batches(), min_weights=least, allocation="uniform").report
    assert not whole.skipped
    report = onnx_lobs.prune(network(), batches(), **options).report
    pruned = [layer.name for layer in report.layers]
    assert len(pruned) == len(whole.layers) - 1
    (skip,) = report.skipped
    assert skip.node in {layer.name for layer in whole.layers} - set(pruned)
    assert skip.weights < least


@pytest.mark.slow
def test_what_a_target_wants_is_made_of_what_is_left(tmp_path: Path) -> None:
    source, data = written(tmp_path)
    output = tmp_path / "small.onnx"
    options = {**BOTH, "target": "c", "storage": "dense", "batch_size": 16}
    report = prune_file(source, output, PruneConfig(**options), data=data)
    assert report.deploy is not None
    assert {Path(name).suffix for name in report.deploy.files} >= {".c", ".h"}
    assert report.channels is not None
    left = report.channels.multiplications[1] / 2  # of two samples
    assert report.deploy.multiplications == pytest.approx(left / 2, rel=0.01)  # by the other half
    assert report.deploy.expect[0] == FEWER_CHANNELS


@pytest.mark.slow
def test_a_cache_gives_the_same_again(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = onnx_lobs.prune(network(), batches(), cache=cache, **BOTH)
    kept = sorted(path.name for path in cache.rglob("*"))
    again = onnx_lobs.prune(network(), batches(), cache=cache, **BOTH)
    assert kept
    assert sorted(path.name for path in cache.rglob("*")) == kept
    assert again.model.SerializeToString() == first.model.SerializeToString()


@pytest.mark.slow
def test_the_file_has_fewer_channels_zeros_and_int8(tmp_path: Path) -> None:
    source, data = written(tmp_path)
    output = tmp_path / "small.onnx"
    config = PruneConfig(**BOTH, values="int8", storage="packed", batch_size=16)
    report = prune_file(source, output, config, data=data)
    assert report.totals.file_bytes is not None
    assert report.totals.file_bytes == (source.stat().st_size, output.stat().st_size)
    proto = onnx.load(output)
    assert {node.op_type for node in proto.graph.node} >= {"DequantizeLinear"}
    assert run(proto, x=samples(n=3)["x"])["y"].shape == (3, 4, nets.SIZE, nets.SIZE)


def test_a_dry_run_tells_of_the_channels(tmp_path: Path) -> None:
    source, data = written(tmp_path)
    config = PruneConfig(**BOTH)
    plan = dry_run(source, tmp_path / "out.onnx", config, data=data)
    assert plan.channels == 0.3
    assert "removing channels" in [stage.name for stage in plan.stages]
    done = CliRunner().invoke(
        app, [str(source), "-d", str(data), "--channels", "0.3", "-s", "0.5", "--dry-run"]
    )
    assert "whole channels, 30 % of what the layers cost" in " ".join(done.output.split())


@pytest.mark.slow
def test_a_configuration_file_takes_it(tmp_path: Path) -> None:
    source, data = written(tmp_path)
    file = tmp_path / "run.toml"
    file.write_text("channels = 0.3\nsparsity = 0.5\nmin_weights = 0\nalign = 1\n")
    output = tmp_path / "out.onnx"
    arguments = [str(source), "-d", str(data), "--config", str(file), "-o", str(output)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert output.stat().st_size < source.stat().st_size


@pytest.mark.slow
def test_phases_of_the_channels_are_one_stage() -> None:
    told: list[str] = []
    onnx_lobs.prune(network(), batches(), progress=lambda phase, *_: told.append(phase), **BOTH)
    first = [phase for phase in dict.fromkeys(told) if phase.startswith("1 of ")]
    assert first == ["1 of 3: removing channels"]
    assert told[0] == first[0]


@pytest.mark.slow
def test_only_the_network_that_is_delivered_is_judged() -> None:
    warnings = onnx_lobs.prune(network(), batches(1), **BOTH).report.warnings
    assert [text for text in warnings if text.startswith("the output error is not known")] == [
        NOTHING_HELD
    ]


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["channels", "macs"])
def test_a_budget_of_channels_is_theirs_and_others_the_zeros(budget: str) -> None:
    record = onnx_lobs.prune(network(), batches(), budget=budget, **BOTH).report.channels
    assert record is not None
    assert record.budget == budget


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pattern": "channels"}, "leave one of the two out"),
        ({"bound": True}, "--bound does not go with --channels"),
        ({"channels": 1.0}, "channels is 1.0; it must be at least 0 and below 1"),
        ({"channels": 0.99}, "sparsity 0.99 leaves a group of channels empty"),
        ({"channels": None}, "add --pattern channels or --channels"),
    ],
)
def test_what_contradicts_it_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        onnx_lobs.prune(network(), batches(2), **{**BOTH, **options})
