"""Whole channels go: the error that is told is the one that onnxruntime shows, on every rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import coupled_networks as nets
import numpy as np
import onnx
import pytest
from build_onnx import branch, constant, model, run, value
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper

import onnx_lobs
from onnx_lobs.arrays import Array
from onnx_lobs.errors import ConfigError
from onnx_lobs.run.selection import NothingToPruneError
from onnx_lobs.verbs.prune import prune_file

PREDICTED = 1e-5  # absolute, on relative errors: float32 sums of some 100 terms
WHOLE: dict[str, Any] = {"pattern": "channels", "align": 1, "positions": None}


def values(proto: ModelProto, name: str, batches: list[dict[str, Array]]) -> Array:
    """Return one value of the network for all batches, as onnxruntime has it."""
    shown = ModelProto()
    shown.CopyFrom(proto)
    if name not in {each.name for each in shown.graph.output}:
        told = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        shown.graph.output.append(told)
    return np.concatenate([run(shown, **feeds)[name].astype(np.float64) for feeds in batches])


def change(before: Array, after: Array) -> float:
    """Return sum (y' - y)² / sum (y - mean y)², means by channel."""
    channel = 1 if before.ndim == 4 else -1
    axes = tuple(axis for axis in range(before.ndim) if axis != channel % before.ndim)
    energy = np.square(before - before.mean(axis=axes, keepdims=True)).sum()
    return float(np.square(after - before).sum() / energy)


def measured(dense: ModelProto, pruned: ModelProto, batches: list[dict[str, Array]]) -> float:
    """Return the change of the network's output."""
    return change(values(dense, "y", batches), values(pruned, "y", batches))


def without_channels(
    proto: ModelProto, batches: list[dict[str, Array]], sparsity: float = 0.3
) -> onnx_lobs.PruneResult:
    """Return the network without some channels, having looked that enough are gone."""
    result = onnx_lobs.prune(proto, batches, sparsity=sparsity, **WHOLE)
    assert result.report.channels is not None
    assert result.report.channels.removed >= sparsity
    assert result.model.ByteSize() < proto.ByteSize()
    return result


def check_predicted(proto: ModelProto, rank: int = 4, sparsity: float = 0.3) -> None:
    batches = nets.batches_with_mean(rank)
    result = without_channels(proto, batches, sparsity)
    layers = result.report.layers
    predicted = layers[-1].error if layers else 0.0  # only channels went that nobody reads
    assert abs(predicted - measured(proto, result.model, batches)) <= PREDICTED * max(1, predicted)


@pytest.mark.slow
@pytest.mark.parametrize("middle", nets.MIDDLES, ids=lambda middle: middle.__name__)
def test_the_error_of_the_last_reader_is_that_of_the_smaller_network(middle: nets.Middle) -> None:
    check_predicted(nets.between(middle))


@pytest.mark.slow
@pytest.mark.parametrize(("build", "rank"), nets.WHOLE_NETWORKS)
def test_so_it_is_for_flattened_channels_and_heads(
    build: Callable[[], ModelProto], rank: int
) -> None:
    check_predicted(build(), rank)


@pytest.mark.slow
@settings(max_examples=3)
@given(nets.rows_of_middles(nets.MIDDLES[:14]), st.integers(0, 99))
def test_so_it_is_in_random_networks(middles: list[nets.Middle], seed: int) -> None:
    """Behind the last layer that was solved anew, which need not be the network's last."""
    proto, batches = nets.in_a_row(middles, seed), nets.batches_with_mean()
    result = without_channels(proto, batches)
    assume(result.report.layers)  # else only channels went that nobody reads
    layer = result.report.layers[-1]
    (end,) = (node.output[0] for node in proto.graph.node if node.name == layer.name)
    before, after = (values(each, end, batches) for each in (proto, result.model))
    assume(after.shape == before.shape)  # else channels of this layer went that nobody reads
    assert abs(layer.error - change(before, after)) <= PREDICTED * max(1, layer.error)


def pruned(proto: ModelProto, **options: Any) -> onnx_lobs.PruneResult:
    return onnx_lobs.prune(proto, nets.batches_with_mean(), **{**WHOLE, **options})


@pytest.mark.slow
def test_inputs_outputs_metadata_and_any_batch_size_stay() -> None:
    proto = nets.between(nets.residual)
    entry = proto.metadata_props.add()
    entry.key, entry.value = "owner", "me"
    result = pruned(proto, sparsity=0.5).model
    onnx.checker.check_model(result, full_check=True)
    assert result.graph.input[0] == proto.graph.input[0]
    assert result.graph.output[0] == proto.graph.output[0]
    assert ("owner", "me") in {(each.key, each.value) for each in result.metadata_props}
    assert result.opset_import == proto.opset_import
    assert run(result, x=nets.samples(n=5)["x"])["y"].shape[0] == 5


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["macs", "bytes", "channels"])
def test_at_least_the_share_of_the_budget_goes(budget: str) -> None:
    record = pruned(nets.between(nets.gate), sparsity=0.4, budget=budget).report.channels
    assert record is not None
    assert 0.4 <= record.removed < 0.6  # groups are small: one channel is much


@pytest.mark.slow
def test_a_share_of_the_milliseconds_goes_and_the_record_predicts_and_measures() -> None:
    chain = nets.Chain()
    x = chain.add("Relu", chain.conv("x", 96, 3, 3))
    x = chain.add("Relu", chain.conv(x, 96, 96, 3))
    proto = chain.proto(chain.conv(x, 4, 96))
    record = pruned(proto, sparsity=0.3, budget="latency", align=None).report.channels
    assert record is not None
    assert record.removed >= 0.3
    assert record.predicted_latency is not None
    before, after = record.predicted_latency
    assert after < before
    assert record.latency is not None


@pytest.mark.slow
def test_multiplications_are_those_of_the_smaller_network() -> None:
    result = pruned(nets.between(nets.depthwise), sparsity=0.4)
    record = result.report.channels
    assert record is not None
    assert record.multiplications == (
        multiplications(nets.between(nets.depthwise)), multiplications(result.model),
    )  # fmt: skip


def multiplications(proto: ModelProto) -> int:
    """Return those of the convolutions on two samples, counted from shapes."""
    shapes = {t.name: t.dims for t in proto.graph.initializer}
    pixels = 2 * nets.SIZE**2
    weights = [shapes[n.input[1]] for n in proto.graph.node if n.op_type == "Conv"]
    return sum(pixels * int(np.prod(shape)) for shape in weights)


@pytest.mark.slow
def test_kept_channels_are_a_multiple_of_align() -> None:
    record = pruned(nets.between(nets.residual), sparsity=0.5, align=4).report.channels
    assert record is not None
    assert all(group.kept % 4 == 0 or group.kept == group.channels for group in record.groups)


@pytest.mark.slow
def test_uniform_allocation_takes_about_the_same_share_of_each_group() -> None:
    record = pruned(nets.between(nets.gate), sparsity=0.5, allocation="uniform").report.channels
    assert record is not None
    shares = [1 - group.kept / group.channels for group in record.groups]
    assert max(shares) - min(shares) <= 1 / 6  # the smaller group has six


@pytest.mark.slow
def test_obs_loses_least_of_all_choices_and_the_refit_repairs_the_most() -> None:
    proto, batches = nets.between(nets.relu), nets.batches_with_mean()
    options: dict[str, Any] = {**WHOLE, "sparsity": 0.5}
    errors = {
        choice: measured(
            proto, onnx_lobs.prune(proto, batches, channel_choice=choice, **options).model, batches
        )
        for choice in ("obs", "l1", "l2", "apoz", "random")
    }
    assert errors["obs"] == min(errors.values())
    bare = onnx_lobs.prune(proto, batches, channel_choice="l2", refit=False, **options).model
    assert measured(proto, bare, batches) > 1.5 * errors["l2"]


@pytest.mark.slow
def test_what_has_to_stay_is_told_with_its_reason() -> None:
    result = onnx_lobs.prune(nets.attention(), nets.batches_with_mean(3), sparsity=0.3, **WHOLE)
    record = result.report.channels
    assert record is not None
    assert any("LayerNormalization" in pinned.reason for pinned in record.pinned)
    assert "channels" in result.report.to_dict()


@pytest.mark.slow
def test_the_written_file_is_smaller_and_runs(tmp_path: Path) -> None:
    source, output = tmp_path / "net.onnx", tmp_path / "small.onnx"
    onnx.save(nets.between(nets.residual), source)
    np.savez(tmp_path / "data.npz", x=nets.samples(n=32)["x"])
    config = onnx_lobs.PruneConfig(pattern="channels", sparsity=0.5, align=1)
    prune_file(source, output, config, data=tmp_path / "data.npz")
    assert output.stat().st_size < source.stat().st_size
    assert run(onnx.load(output), **nets.samples())["y"].shape == (2, 4, nets.SIZE, nets.SIZE)


def nothing_free() -> ModelProto:
    node = helper.make_node("Gemm", ["x", "w"], ["y"], name="only")
    weights = {"w": np.ones((8, 9), np.float32)}
    return model([node], [value("x", ["n", 8])], ["y"], weights)


def test_a_model_without_free_channels_names_the_largest_group_that_stays() -> None:
    with pytest.raises(NothingToPruneError, match=r"no channels of this model can go.*8 of w.*'x'"):
        onnx_lobs.prune(nothing_free(), nets.batches_with_mean(2), **WHOLE)


@pytest.mark.parametrize(
    ("is_outside", "words"),
    [
        (False, "no product of the main graph sums over channels that a weight makes"),
        (True, r"the largest group that has to stay: \d of (one|two)_w, as If 'y' has no rule"),
    ],
)
def test_a_model_with_products_in_branches_alone_is_told_so(is_outside: bool, words: str) -> None:
    weight, names = np.ones((8, 9), np.float32), ("one", "two")

    def product(name: str) -> onnx.GraphProto:
        held = [] if is_outside else [constant(f"{name}_w", weight)]
        return branch([*held, helper.make_node("Gemm", ["x", f"{name}_w"], [name])], name)

    kept, other = map(product, names)
    node = helper.make_node("If", ["yes"], ["y"], then_branch=kept, else_branch=other)
    held = {f"{name}_w": weight for name in names} if is_outside else {}
    proto = model([node], [value("x", ["n", 8])], ["y"], {"yes": np.array(True), **held})
    with pytest.raises(NothingToPruneError, match=words):
        onnx_lobs.prune(proto, nets.batches_with_mean(2), **WHOLE)


@pytest.mark.slow
def test_a_group_that_is_narrower_than_a_step_stays_and_is_told() -> None:
    report = pruned(nets.between(nets.residual), sparsity=0.2, align=8).report
    assert report.channels is not None
    assert {g.channels: g.kept for g in report.channels.groups} == {12: 8, 7: 7}
    assert any("align 8 leaves 1 of 2 groups as they are" in text for text in report.warnings)


def test_a_share_that_leaves_a_group_empty_is_refused_before_anything_is_measured() -> None:
    phases: list[str] = []
    with pytest.raises(ConfigError, match="ask for less, or lower align"):
        pruned(
            nets.between(nets.relu), sparsity=0.99, progress=lambda phase, *_: phases.append(phase)
        )
    assert "measuring channels" not in phases


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sparsity": 0.99}, "sparsity 0.99 leaves a group of channels empty"),
        ({"align": 12}, "align 12 leaves every group as it is: the widest has 12"),
        ({"budget": "weights"}, "does not go with --budget weights"),
        ({"allocation": "erk"}, "does not go with --allocation erk"),
        ({"layer_sparsity": {"n0": 0.5}}, "does not go with --layer-sparsity"),
        ({"max_bytes": 1000}, "does not go with --max-bytes; leave that out, or take --channels"),
        (
            {"values": "int8"},
            "does not go with --values int8; take --values fp32, or take --channels, which removes",
        ),
        ({"target": "c", "budget": "macs"}, "--values int8, which --target c takes; take"),
        ({"pattern": "2:4"}, "align is for whole channels; add --pattern channels"),
        ({"pattern": "2:4", "align": None, "budget": "channels"}, "budget is for whole channels"),
        ({"pattern": "2:4", "align": None, "budget": "latency"}, "budget is for whole channels"),
        ({"pattern": "channel"}, "did you mean 'channels'"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        pruned(nets.between(nets.relu), **options)


@pytest.mark.slow
def test_as_many_channels_go_as_the_score_allows() -> None:
    chain = nets.Chain(3)
    x = chain.add("Relu", chain.conv("x", 24, 3, 3))
    x = chain.add("Flatten", chain.add("GlobalAveragePool", chain.conv(x, 24, 24, 3)))
    proto = chain.proto(chain.add("Gemm", x, chain.normal(5, 24), chain.normal(5), transB=1))
    images = nets.samples(n=600)["x"]
    labels = run(proto, x=images)["y"].argmax(axis=1)
    test = {"x": images[200:], "label": labels[200:]}
    result = onnx_lobs.prune(
        proto, {"x": images[:200]}, test=test, pattern="channels", align=1, max_drop=0.05
    )
    target, score = result.report.target, result.report.output.score
    assert target is not None
    assert score is not None
    assert target.is_met
    assert score.drop <= 0.05
    assert result.report.channels is not None
    assert result.report.channels.removed > 0.2
