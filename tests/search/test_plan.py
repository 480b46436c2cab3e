"""Zeros by measurement: the best of all that was tried, exact sums, and reasons where not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from budget_networks import chain, data
from build_onnx import model, normal, run, value
from onnx import ModelProto, TensorProto, helper

import onnx_lobs
from onnx_lobs.allocation.rules import Slot
from onnx_lobs.errors import ConfigError
from onnx_lobs.evaluation.loss import OutputLoss
from onnx_lobs.evaluation.remembered import RememberedOutputs
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.report.progress import Silent
from onnx_lobs.report.record import AllocationRecord
from onnx_lobs.run.layer_step import make_task
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup, open_run
from onnx_lobs.run.slots import layer_key
from onnx_lobs.run.zeros import Choice, Zeros
from onnx_lobs.search import groundwork, plan
from onnx_lobs.search.candidates import MIXTURES, SPARED, between, candidate, worth_trying
from onnx_lobs.search.contest import (
    PROVEN,
    REACH,
    Tried,
    is_promising,
    needs_finals,
    settle_half_way,
)
from onnx_lobs.search.costs import observe_costs, with_price
from onnx_lobs.search.groundwork import CHEAP_STEPS, STEPS, Measured, measure
from onnx_lobs.search.plan import Basis, Planner, make_planner
from onnx_lobs.search.trial_samples import samples_needed, samples_scored, split_finally
from onnx_lobs.search.trials import Runs, Trials, layer_moments, remember_dense
from onnx_lobs.solvers.layerwise import ErrorMeter, solve_layer, solve_quickly

NODE = helper.make_node
FLOAT32 = 1e-4  # relative: outputs are sums of float32 products


@dataclass(frozen=True)
class Opened:
    """A run that was opened, and what is told of it."""

    setup: Setup
    networks: Networks
    log: Log

    @property
    def keys(self) -> list[str]:
        """The keys of the layers."""
        return [layer_key(layer) for layer in self.setup.layers]

    def planner(self) -> Planner:
        """Return what chooses the zeros."""
        return make_planner(self.setup, self.networks, Scratch(None), Silent(), self.log)

    def choice(self) -> Choice:
        """Choose the zeros at the run's sparsity."""
        return self.planner().choose(self.setup.sparsity)

    def measured(self) -> Measured:
        """Measure, whatever the options say."""
        costs = observe_costs(self.setup, self.networks)
        return measure(self.setup, self.networks, costs, Scratch(None), Silent(), remembered(self))


def opened_on(proto: ModelProto, feeds: Any, **options: Any) -> Opened:
    config, log = PruneConfig(**{"min_weights": 8, "batch_size": 16, **options}), Log()
    return Opened(*open_run(proto, feeds, None, config, log), log)


def opened(proto: ModelProto | None = None, **options: Any) -> Opened:
    return opened_on(proto or chain(), data(), **{"sparsity": 0.6, **options})


def record_of(choice: Choice) -> AllocationRecord:
    assert choice.record is not None
    return choice.record


@pytest.mark.slow
def test_the_best_effort_goes_on_with_the_best_of_all_that_there_is() -> None:
    work = opened(effort="best")
    choice = work.choice()
    record = record_of(choice)
    assert record.losses[record.chosen] == min(record.losses.values())
    assert {"uniform", "erk"} < set(record.losses)
    assert record.trials == 2 + len(MIXTURES) + STEPS["best"]
    assert record.stopped == 0
    one = dict.fromkeys(work.keys, 1.0)
    needed = samples_needed(work.setup, one)
    scored = samples_scored(work.setup, one, needed)
    again = Trials(work.setup, work.networks, needed, scored, Scratch(None), remembered(work)).loss(
        choice.zeros
    )
    assert again.value == pytest.approx(record.losses[record.chosen], rel=FLOAT32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cheap", "scored", "steps"),
    [(1e10, 160, CHEAP_STEPS), (1.0, 160, STEPS), (1e10, 161, STEPS)],  # 160 of 320 samples score
)
def test_cheap_trials_that_many_samples_score_are_more(
    cheap: float, scored: int, steps: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groundwork, "CHEAP_TRIAL", cheap)
    monkeypatch.setattr(groundwork, "ENOUGH_SCORED", scored)
    work = opened()
    likely = worth_trying(work.measured().layers, work.setup.sparsity)
    assert record_of(work.choice()).trials == len(likely) + steps["default"]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold finals however far uniform zeros are behind, and of the winner however near they are."""
    monkeypatch.setattr("onnx_lobs.search.contest.REACH", math.inf)
    monkeypatch.setattr(plan, "is_promising", lambda losses, winner, plain: True)


@pytest.fixture
def doubted(always: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold all finals: no winner of trials is ever clearly better than what is half-way."""
    monkeypatch.setattr("onnx_lobs.search.contest.PROVEN", 0.0)


def halfway(work: Opened, even: Zeros, zeros: Zeros) -> Zeros:
    return between(work.measured().layers, work.setup.sparsity, even, zeros)


@pytest.mark.slow
@pytest.mark.usefixtures("doubted")
def test_finals_compare_the_best_of_the_trials_with_uniform_zeros_and_half_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for steps in ("STEPS", "CHEAP_STEPS"):  # no random ones, or the fast effort is no comparison
        monkeypatch.setattr(groundwork, steps, {"fast": 0, "default": 0, "best": 0})
    choice = opened().choice()
    record = record_of(choice)
    winner = min(record.losses, key=lambda name: record.losses[name])
    middle = f"half-way from uniform to {winner}"
    assert list(record.finals) == [winner, middle, "uniform"]
    assert record.chosen in (middle, "uniform")
    alone = opened(effort="fast")
    best = alone.choice()
    assert record_of(best).chosen == winner
    zeros = best.zeros
    each = {winner: zeros, middle: halfway(opened(), uniform_zeros(), zeros),
            "uniform": uniform_zeros()}  # fmt: skip
    assert choice.zeros == each[record.chosen]
    fit, held = split_finally(alone.setup.batches)
    runs = Runs(dataclasses.replace(alone.setup, batches=fit), alone.networks, held,
                lambda task, layer: solve_layer(task), Scratch(None),
                remembered(alone))  # fmt: skip
    for name, final in record.finals.items():
        loss = runs.loss(each[name])
        assert loss.error == pytest.approx(final["error"], rel=FLOAT32)
        assert loss.positions == final["positions"] == held.n_samples


def remembered(work: Opened) -> RememberedOutputs:
    return remember_dense(work.setup, work.networks)


def uniform_zeros() -> Zeros:
    return opened(allocation="uniform").choice().zeros


CLEARLY, BARELY = PROVEN - 0.01, PROVEN + 0.01
LADDER = [
    ((CLEARLY, 1.0), (0, 0), 0),
    ((CLEARLY, 1.0, 1.1), (1, 0, 1), 1),  # more choices changed, and as many
    ((BARELY, 1.0, 1.01), (0, 0, 0), 1),
    ((BARELY, 1.0, 1.01), (0, 1, 0), 1),  # half-way its loss alone decides
    ((BARELY, 1.0, 1.0), (0, 0, 0), 2),
    ((BARELY, 1.0, 0.99), (0, 0, 0), 2),
]


@pytest.mark.slow
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(("losses", "changed", "goes_on"), LADDER)
def test_each_final_has_to_show_that_the_next_is_worse(
    monkeypatch: pytest.MonkeyPatch,
    losses: tuple[float, ...],
    changed: tuple[int, ...],
    goes_on: int,
) -> None:
    found: list[Zeros] = []

    def loss(zeros: Zeros) -> OutputLoss:
        found.append(zeros)
        index = len(found) - 1
        # without positions the value is the error alone
        return OutputLoss(losses[index], changed[index], 0)

    monkeypatch.setattr("onnx_lobs.search.plan.make_finals", lambda *run: Final(loss))
    work = opened()
    choice = work.choice()
    record = record_of(choice)
    assert len(found) == len(losses)
    assert record.chosen == list(record.finals)[goes_on]
    assert choice.zeros == found[goes_on]
    assert record.losses["uniform"] > min(record.losses.values())
    assert found[1] == halfway(work, uniform_zeros(), found[0])
    assert found[2:] in ([], [uniform_zeros()])


@pytest.mark.slow
def test_half_way_keeps_geometric_means_at_the_same_cost() -> None:
    work = opened()
    first, second, third = work.keys
    sizes = {layer_key(layer): layer.size for layer in work.setup.layers}
    even = uniform_zeros()
    other = {first: even[first] + 30, second: even[second] - 20, third: even[third] - 10}
    found = halfway(work, even, other)
    assert sum(found.values()) == sum(even.values())
    kept = {key: sizes[key] - found[key] for key in sizes}
    mean = {k: math.sqrt((sizes[k] - even[k]) * (sizes[k] - other[k])) for k in sizes}
    scale = sum(kept.values()) / sum(mean.values())
    assert kept == pytest.approx({k: scale * mean[k] for k in sizes}, abs=1)  # whole weights
    assert halfway(work, even, even) == even
    own = opened(layer_sparsity={"second": 0.25})
    before = opened(layer_sparsity={"second": 0.25}, allocation="uniform").choice().zeros
    assert halfway(own, before, {**before, first: 0})[second] == before[second]


class Final:
    """Stands for the finals."""

    def __init__(self, loss: Callable[[Zeros], OutputLoss]) -> None:
        self.loss = loss


@pytest.mark.parametrize(("factor", "near"), [(0.99, True), (1.01, False)])
def test_uniform_zeros_that_are_far_behind_need_no_final(factor: float, near: bool) -> None:
    best = OutputLoss(0.04, 3, 99)
    tried = {"best": best, "uniform": OutputLoss((factor * REACH) ** 2 * 0.04, 3, 99)}
    assert needs_finals(tried, "best", "uniform") == near
    assert needs_finals({}, "best", "uniform")


@pytest.mark.slow
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    ("half", "far_below", "goes_on"),
    [
        (0.99, 0.0, "half-way from uniform"),
        (1.0, 0.0, "uniform"),
        (1.0, 1.0, "error"),  # the winner, which is below the plain one and so below half-way
    ],
)
def test_a_winner_that_is_hardly_better_lets_half_way_be_tried_in_place_of_finals(
    half: float, far_below: float, goes_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnx_lobs.search.contest.FAR_BELOW", far_below)
    monkeypatch.setattr(plan, "is_promising", lambda losses, winner, plain: False)
    found: list[str] = []

    def settled(*given: Any) -> Tried:
        tried = given[2]
        found.append(tried.best.name)
        like = tried.losses["uniform"]
        trials = Final(lambda zeros: dataclasses.replace(like, error=half**2 * like.error))
        return settle_half_way(given[0], given[1], tried, trials)  # type: ignore[arg-type]

    monkeypatch.setattr(plan, "settle_half_way", settled)
    record = record_of(opened().choice())
    assert record.finals == {}
    assert record.chosen.startswith(goes_on)
    assert f"half-way from uniform to {found[0]}" in record.losses


@pytest.mark.parametrize(("factor", "expected"), [(0.99, True), (1.01, False)])
def test_promising_is_who_is_as_far_below_plain_as_finals_want(
    factor: float, expected: bool
) -> None:
    losses = {"best": OutputLoss(factor * PROVEN * 0.04), "uniform": OutputLoss(0.04)}
    assert is_promising(losses, "best", "uniform") == expected
    assert is_promising({}, "best", "uniform")


@pytest.mark.slow
def test_fast_effort_has_no_finals() -> None:
    record = record_of(opened(effort="fast").choice())
    assert record.finals == {}
    assert record.losses


@pytest.mark.slow
def test_another_sparsity_tries_nothing_again_but_has_finals_of_its_own() -> None:
    work = opened()
    planner = work.planner()
    first = planner.choose(0.6)
    second = planner.choose(0.8, first.kind)
    record = record_of(second)
    assert record.trials == 0
    assert record.losses == {}
    assert first.kind == second.kind
    kind = first.kind
    assert list(record.finals)[:2] == [kind, f"half-way from uniform to {kind}"]
    total = sum(layer.size for layer in work.setup.layers)
    assert sum(second.zeros.values()) == round(0.8 * total)


@pytest.mark.slow
@pytest.mark.parametrize("allocation", ["auto", "global"])
@pytest.mark.parametrize("sparsity", [0.3, 0.6, 0.95])
def test_zeros_add_up_exactly(allocation: str, sparsity: float) -> None:
    work = opened(allocation=allocation, sparsity=sparsity)
    zeros, layers = work.choice().zeros, work.setup.layers
    assert sum(zeros.values()) == round(sparsity * sum(layer.size for layer in layers))
    assert all(0 <= zeros[layer_key(layer)] <= layer.size for layer in layers)


@pytest.mark.slow
def test_global_takes_from_where_the_data_need_nothing() -> None:
    work = opened(allocation="global", sparsity=0.4)
    zeros = work.choice().zeros
    shares = [zeros[layer_key(layer)] / layer.size for layer in work.setup.layers]
    assert shares[0] > 0.6
    assert max(shares[1:]) < 0.4


@pytest.mark.slow
def test_a_layer_with_a_sparsity_of_its_own_keeps_it() -> None:
    work = opened(layer_sparsity={"second": 0.25})
    zeros = work.choice().zeros
    first, second, third = (zeros[key] for key in work.keys)
    assert second == 30
    assert first + third == round(0.6 * (288 + 100))


@pytest.mark.slow
@pytest.mark.parametrize("allocation", ["auto", "global"])
def test_measured_zeros_stay_within_the_limits_of_layers(allocation: str) -> None:
    free = opened(allocation=allocation)
    first, second, _ = free.keys
    assert free.choice().zeros[first] > 0.5 * 288  # else the limits below would not bind
    limits = {"layer_max": {"first": 0.5}, "layer_min": {"second": 0.55}}
    zeros = opened(allocation=allocation, **limits).choice().zeros
    assert zeros[first] <= 144
    assert zeros[second] >= 66
    assert sum(zeros.values()) == round(0.6 * (288 + 120 + 100))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_max": {"*": 0.5}}, "allow a sparsity from 0 to 0.5, and 0.6 is asked for"),
        ({"layer_min": {"*": 0.7}}, "allow a sparsity from 0.7 to 1, and 0.6 is asked for"),
        ({"layer_max": {"nobody": 0.5}}, "layer max 'nobody' matches no layer"),
        ({"layer_min": {"*": 0.7}, "layer_max": {"first": 0.6}}, "'first' has layer min 0.7 above"),
    ],
)
def test_limits_that_cannot_be_met_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        opened(**options)


def separable() -> ModelProto:
    """A depthwise Conv and a pointwise one."""
    nodes = [
        NODE("Conv", ["x", "w1"], ["d"], name="depthwise", group=8),
        NODE("Relu", ["d"], ["r"]),
        NODE("Conv", ["r", "w2"], ["y"], name="pointwise"),
    ]
    weights = {"w1": normal(1, 8, 1, 3, 3), "w2": normal(2, 30, 8, 1, 1)}
    return model(nodes, [value("x", ["n", 8, 6, 6])], ["y"], weights)


IMAGES = {"x": normal(0, 64, 8, 6, 6)}


@pytest.mark.slow
def test_depthwise_convolutions_take_part_where_zeros_are_measured() -> None:
    work = opened_on(separable(), IMAGES, sparsity=0.4)
    assert [layer.name for layer in work.setup.layers] == ["depthwise", "pointwise"]
    assert sum(work.choice().zeros.values()) == round(0.4 * (72 + 240))
    for options in ({"allocation": "uniform"}, {"method": "magnitude"}, {"pattern": "1x2"}):
        by_rule = opened_on(separable(), IMAGES, sparsity=0.4, **options)
        assert [layer.name for layer in by_rule.setup.layers] == ["pointwise"]


def test_a_depthwise_convolution_with_a_sparsity_of_its_own_is_pruned() -> None:
    options = {"allocation": "uniform", "min_weights": 8, "batch_size": 16, "sparsity": 0.5}
    own = onnx_lobs.prune(separable(), IMAGES, layer_sparsity={"depthwise": 0.25}, **options)
    assert {x.name: x.zeros for x in own.report.layers}["depthwise"] == 18
    for left in ({"layer_sparsity": {"depth*": 0.25}}, {"layer_min": {"depthwise": 0.25}}):
        with pytest.raises(ConfigError, match="depthwise is not, because: depthwise: left dense"):
            onnx_lobs.prune(separable(), IMAGES, **left, **options)


@pytest.mark.slow
def test_uniform_zeros_that_spare_depthwise_convolutions_take_part() -> None:
    """They are those of a run by rule with as many zeros in all."""
    work = opened_on(separable(), IMAGES, sparsity=0.5)
    record = record_of(work.choice())
    assert SPARED in record.losses
    assert SPARED in record.finals or record.chosen == SPARED
    share = 0.5 * 312 / 240
    plain = opened_on(separable(), IMAGES, sparsity=share, allocation="uniform").choice().zeros
    zeros = candidate(work.measured().layers, 0.5, SPARED)
    assert zeros == {**dict.fromkeys(work.keys, 0), **plain}


@pytest.mark.slow
def test_where_the_others_cannot_have_all_zeros_none_are_spared() -> None:
    record = record_of(opened_on(separable(), IMAGES, sparsity=0.8).choice())
    assert SPARED not in record.losses
    assert "uniform" in record.losses


def test_a_kind_that_another_sparsity_does_not_have_gives_way_to_uniform_zeros() -> None:
    """At 80 % the pointwise convolution cannot have all zeros, so depthwise ones get some."""
    choice = opened_on(separable(), IMAGES, sparsity=0.5).planner().choose(0.8, SPARED)
    assert record_of(choice).chosen == "uniform"
    assert choice.kind == SPARED
    assert sum(choice.zeros.values()) == round(0.8 * 312)


@pytest.mark.slow
def test_blocks_get_counts_that_they_can_hold() -> None:
    assert all(n % 4 == 0 for n in opened(pattern="2x2").choice().zeros.values())


@pytest.mark.parametrize(
    "options",
    [{"allocation": "uniform"}, {"allocation": "erk"}, {"pattern": "2:4", "sparsity": None},
     {"method": "magnitude"}],
)  # fmt: skip
def test_where_nothing_is_to_be_chosen_nothing_is_measured(options: dict[str, Any]) -> None:
    planner = opened(**options).planner()
    assert planner.basis is Basis.SHAPES
    assert planner.choose(0.6).record is None


def test_one_free_layer_leaves_no_choice() -> None:
    assert opened(include=("first",)).choice().record is None


def convolution() -> ModelProto:
    """A Conv with 36 positions, then a Gemm."""
    nodes = [
        NODE("Conv", ["x", "w1"], ["c"], name="conv"),
        NODE("Flatten", ["c"], ["f"]),
        NODE("Gemm", ["f", "w2"], ["y"], name="gemm", transB=1),
    ]
    weights = {"w1": normal(1, 3, 2, 3, 3), "w2": normal(2, 9, 108)}
    return model(nodes, [value("x", ["n", 2, 8, 8])], ["y"], weights)


@pytest.mark.slow
@pytest.mark.parametrize("allocation", ["auto", "uniform", "erk", "global"])
def test_a_budget_of_multiplications_counts_positions(allocation: str) -> None:
    options = {"sparsity": 0.5, "budget": "macs", "allocation": allocation, "batch_size": None}
    work = opened_on(convolution(), {"x": normal(0, 64, 2, 8, 8)}, **options)
    zeros = work.choice().zeros
    conv, gemm = (zeros[key] for key in work.keys)
    # one weight of each layer may be rounded
    assert 36 * conv + gemm == pytest.approx(0.5 * (36 * 54 + 972), abs=37)


@pytest.mark.parametrize(
    ("dtype", "storage", "price"), [("float32", "dense", 4), ("float16", "dense", 2),
                                   ("float16", "sparse", 3)]
)  # fmt: skip
def test_a_weight_costs_the_bytes_that_it_is_stored_in(
    dtype: str, storage: str, price: float
) -> None:
    setup = opened(budget="bytes", storage=storage).setup
    layer = dataclasses.replace(setup.layers[0], dtype=np.dtype(dtype))
    assert with_price(setup.config, layer, Slot((1, 12, 24)), 1.0).price == price


def test_layers_of_one_type_share_bytes_as_they_share_weights() -> None:
    by_bytes = opened(budget="bytes", allocation="erk").choice().zeros
    assert by_bytes == opened(allocation="erk").choice().zeros


def test_a_model_in_stages_is_shared_out_by_a_rule_and_says_so() -> None:
    work = opened()
    staged = dataclasses.replace(work, networks=dataclasses.replace(work.networks, limit=8))
    choice = staged.choice()
    assert choice.record is None
    assert "exceed their share of --memory" in work.log.warnings[-1]
    assert choice.zeros == uniform_zeros()


@pytest.mark.slow
def test_the_report_tells_how_zeros_were_shared() -> None:
    result = onnx_lobs.prune(chain(), data(), sparsity=0.6, min_weights=8, batch_size=16)
    record = result.report.allocation
    assert record is not None
    assert record.chosen in {**record.losses, **record.finals}
    assert set(record.sensitivity) == {":w1", ":w2", ":w3"} or len(record.sensitivity) == 3
    assert result.report.totals.zeros == round(0.6 * 508)


@pytest.mark.slow
def test_measured_zeros_beat_uniform_ones_where_layers_differ() -> None:
    options: dict[str, Any] = {"sparsity": 0.5, "min_weights": 8, "batch_size": 16}
    errors = [
        onnx_lobs.prune(chain(), data(), allocation=allocation, **options).report.output.error
        for allocation in ("auto", "uniform")
    ]
    assert errors[0] is not None
    assert errors[1] is not None
    assert errors[0] < 0.5 * errors[1]


def test_an_unknown_budget_is_refused() -> None:
    with pytest.raises(ConfigError, match="budget 'flops' is unknown; choose one of weights"):
        PruneConfig(budget="flops")


def test_sensitivity_is_the_outputs_error_over_the_layers_own() -> None:
    work = opened(sparsity=0.5)
    measured = work.measured()
    n = measured.trials.setup.batches.n_samples
    trials = Trials(work.setup, work.networks, n, n, Scratch(None), remembered(work))
    setup = trials.setup.with_options(sequential=False)
    ratios = {}
    for layer, calibration in layer_moments(setup, trials.networks, Scratch(None)):
        task = make_task(setup, trials.networks, layer, calibration, layer.size // 2)
        pruned, own = trials.prune_alone(layer, task)
        ((_, whole),) = trials.errors_alone([pruned])
        outcome = solve_quickly(task, refit=True)  # cheap here, so trials do
        assert own == pytest.approx(
            ErrorMeter(task).relative_error(outcome.weight, outcome.bias_change), rel=FLOAT32
        )
        assert 0 < own < 1
        ratios[layer.name] = whole / own
    # an error of the last layer is the output's own, over its energy about the mean
    x = np.concatenate([feeds["x"] for feeds in work.setup.batches])
    y = run(chain(), x=x)["y"]
    assert ratios["third"] == pytest.approx(
        np.square(y - y.mean(axis=0)).sum() / np.square(y).sum(), rel=0.5
    )  # the trial's samples are other ones than those that score, where its error is larger
    expected = [ratios[layer.name] for layer in work.setup.layers]
    np.testing.assert_allclose(measured.layers.sensitivity, expected, rtol=1e-3)


def test_curves_begin_at_nothing_rise_and_end_at_the_whole_energy() -> None:
    for loss in opened().measured().layers.losses:
        assert loss[0] == pytest.approx(0, abs=1e-9)
        assert (np.diff(loss) >= -1e-12).all()
        assert loss[-1] == pytest.approx(1, rel=0.02)  # of damping, which the curve has


def test_outputs_that_are_kept_score_as_those_that_are_computed_anew() -> None:
    work, zeros = opened(), uniform_zeros()
    memory = dataclasses.replace(work.setup.memory, activations=0)
    errors = []
    for setup in (work.setup, dataclasses.replace(work.setup, memory=memory)):
        trials = Trials(setup, work.networks, 64, 64, Scratch(None), remembered(work))
        errors.append([trials.loss(zeros), trials.loss(zeros)])
    assert errors[0] == errors[1]
    assert errors[0][0] == errors[0][1]
    assert errors[0][0].error


def ending(node: Any, output: Any) -> ModelProto:
    """Return the chain with a node behind its output, whose result is the only output."""
    proto = chain()
    proto.graph.node.append(node)
    proto.graph.output.pop()
    proto.graph.output.append(output)
    return proto


@pytest.mark.slow
def test_labels_alone_are_judged_by_how_many_changed() -> None:
    labels = helper.make_tensor_value_info("best", TensorProto.INT64, ["n"])
    work = opened(ending(NODE("ArgMax", ["y"], ["best"], axis=1, keepdims=0), labels))
    record = record_of(work.choice())
    assert record.chosen in record.losses or record.chosen in record.finals
    assert 0 < record.losses["uniform"] < 1
    assert not work.log.warnings


def test_outputs_that_cannot_be_compared_are_shared_evenly_and_said_so() -> None:
    several = helper.make_tensor_sequence_value_info("all", TensorProto.FLOAT, None)
    proto = ending(NODE("SequenceConstruct", ["y"], ["all"]), several)
    work = opened(proto)
    planner = work.planner()
    choices = [planner.choose(0.6), planner.choose(0.6)]
    assert all(choice.record is None for choice in choices)
    uniform = opened(proto, allocation="uniform").choice().zeros
    assert [choice.zeros for choice in choices] == [uniform, uniform]
    told = [text for text in work.log.warnings if "no output that two networks can" in text]
    assert len(told) == 1


@pytest.mark.parametrize("option", ["layer_min", "layer_max", "layer_sparsity"])
def test_sparsities_of_layers_are_refused_under_a_pattern_that_has_its_own(option: str) -> None:
    options = {option: {"second": 0.1}, "pattern": "2:4"}
    with pytest.raises(ConfigError, match=r"2:4 has 0.5 zeros in every layer; leave out"):
        onnx_lobs.prune(chain(), data(), **options)


def deep() -> Any:
    """Two convolutions with a pooling between them: the first one's weights multiply 16 times."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["h"], name="one", pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["h"], ["p"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["p", "w2"], ["y"], name="two", pads=[1, 1, 1, 1]),
    ]
    weights = {"w1": normal(1, 8, 4, 3, 3), "w2": normal(2, 8, 8, 3, 3)}
    return model(nodes, [value("x", ["n", 4, 8, 8])], ["y"], weights)


@pytest.mark.slow
@pytest.mark.parametrize("allocation", ["uniform", "auto"])
def test_limits_of_layers_are_held_against_what_the_budget_counts(allocation: str) -> None:
    feeds = {"x": normal(3, 64, 4, 8, 8)}
    options = {"budget": "macs", "allocation": allocation, "batch_size": 16, "effort": "fast"}
    # the first layer has a third of the weights and 8/9 of the multiplications
    with pytest.raises(ConfigError, match=r"allow a sparsity from 0 to 0.2, and 0.5 is asked for"):
        onnx_lobs.prune(deep(), feeds, sparsity=0.5, layer_max={"one": 0.1}, **options)
    report = onnx_lobs.prune(deep(), feeds, sparsity=0.85, layer_max={"two": 0.1}, **options).report
    one, two = report.layers
    assert two.sparsity <= 0.1 + 1e-2
    assert (8 * one.sparsity + two.sparsity) / 9 == pytest.approx(0.85, abs=1e-2)
