"""Retraining keeps zeros, never does harm on held-out samples, and is the same for a seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import model, normal, run, value
from onnx import helper
from retrained_networks import N, X, network, pruned, tensors

import onnx_lobs
from onnx_lobs.errors import ConfigError, DataError, ModelError
from onnx_lobs.storage.formats import FORMATS

DATA = {"x": X}
SPREAD = 0.35  # of a mean over 60 held-out samples
LESS = 0.6  # of the loss before: what half the weights can still do


def test_the_dense_outputs_are_approached_and_zeros_stay() -> None:
    dense, before = network(), pruned(network())
    found = onnx_lobs.retrain(before, DATA, dense=dense, move="all", steps=60)
    after, old = tensors(found.model), tensors(before)
    for name in ("w1", "w2", "w3"):
        np.testing.assert_array_equal(after[name] == 0, old[name] == 0)
        assert (after[name] != old[name]).any()
    assert {"m", "v"} <= {n for n in after if (after[n] == old[n]).all()}  # statistics stay
    y, was, now = (run(p, **DATA)["y"] for p in (dense, before, found.model))
    assert np.square(now - y).sum() < LESS * np.square(was - y).sum()
    onnx.checker.check_model(found.model)
    record = found.record
    assert record.towards == "outputs"
    assert record.loss_after < record.loss_before
    assert record.zeros == sum(int((old[n] == 0).sum()) for n in ("w1", "w2", "w3"))


@pytest.mark.parametrize("towards", ["labels", "classes"])
def test_classes_are_learnt_from_labels_or_from_the_dense_model(towards: str) -> None:
    dense, before = network(), pruned(network())
    scores = run(dense, **DATA)["y"]
    labels = scores.argmax(1)
    options: dict[str, Any] = {"move": "all", "steps": 60, "towards": towards}
    shares = np.eye(5)[labels]
    if towards == "classes":
        options["dense"] = dense
        shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    found = onnx_lobs.retrain(before, {**DATA, "label": labels}, **options)
    assert found.record.towards == towards
    was, now = (entropy(run(p, **DATA)["y"], shares) for p in (before, found.model))
    assert now < was


def entropy(scores: np.ndarray, shares: np.ndarray) -> float:
    """Return the mean cross entropy of scores with shares of classes."""
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    return float(-(logs * shares).sum(1).mean())


@pytest.mark.parametrize("softmax", [False, True])
def test_a_final_softmax_is_looked_in_front_of(softmax: bool) -> None:
    dense, before = network(softmax=softmax), pruned(network(softmax=softmax))
    options: dict[str, Any] = {"steps": 40, "move": "all", "towards": "outputs"}
    record = onnx_lobs.retrain(before, DATA, dense=dense, **options).record
    assert record.loss_after < LESS * record.loss_before
    # the loss is half the relative error of what the outputs are judged by
    scores = [run(p, **DATA)["y"] for p in (network(), pruned(network()))]
    if softmax:
        scores = [y - y.mean(1, keepdims=True) for y in scores]
    error = np.square(scores[0] - scores[1]).sum() / np.square(scores[0]).sum()
    assert record.loss_before == pytest.approx(error / 2, rel=SPREAD)


@pytest.mark.parametrize(("softmax", "towards"), [(True, "classes"), (False, "outputs")])
def test_a_network_that_ends_in_a_softmax_is_taught_classes(softmax: bool, towards: str) -> None:
    dense, before = network(softmax=softmax), pruned(network(softmax=softmax))
    assert onnx_lobs.retrain(before, DATA, dense=dense, steps=1).record.towards == towards


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_a_seed_makes_one_result(optimiser: str) -> None:
    options: dict[str, Any] = {"dense": network(), "steps": 10, "optimiser": optimiser}
    one, same, other = (
        onnx_lobs.retrain(pruned(network()), DATA, seed=seed, **options) for seed in (1, 1, 2)
    )
    assert one.model.SerializeToString() == same.model.SerializeToString()
    assert one.model.SerializeToString() != other.model.SerializeToString()


def test_steps_that_do_harm_to_what_is_held_out_leave_the_model_as_it_was() -> None:
    before = pruned(network())
    own = run(before, **DATA)["y"].argmax(1)
    is_held = np.arange(N) // 32 % 10 == 9
    labels = np.where(is_held, own, (own + 1) % 5)  # the others teach the opposite
    options: dict[str, Any] = {"steps": 20, "move": "all", "batch_size": 32}
    found = onnx_lobs.retrain(before, {**DATA, "label": labels}, **options)
    record = found.record
    assert len(record.losses) > 1
    assert record.best == 0
    assert record.loss_after == record.loss_before
    assert tensors(found.model).keys() == tensors(before).keys()
    for name, array in tensors(before).items():
        np.testing.assert_array_equal(tensors(found.model)[name], array)


@pytest.mark.parametrize(("start", "n_zero"), [("dense", 0), ("pruned", 88)])
def test_zeros_are_added_on_the_way_as_many_as_asked_for(start: str, n_zero: int) -> None:
    dense = network()
    before = dense if start == "dense" else pruned(dense)
    options: dict[str, Any] = {"move": "all", "steps": 60, "sparsity": 0.7}
    found = onnx_lobs.retrain(before, DATA, dense=dense, **options)
    after, old = tensors(found.model), tensors(before)
    zeros = {n: old[n] == 0 for n in ("w1", "w2", "w3")}
    assert sum(int(each.sum()) for each in zeros.values()) == n_zero
    assert not any(after[name][each].any() for name, each in zeros.items())  # they stay
    n_all = sum(old[n].size for n in zeros)
    n_after = sum(int((after[n] == 0).sum()) for n in zeros)
    assert n_after == n_all - round(0.3 * n_all)
    record = found.record
    assert (record.zeros_before, record.zeros, record.of_weights) == (n_zero, n_after, n_all)
    assert record.weights == n_all - n_after
    assert record.best >= 36  # of 60 steps: before that there are too few zeros


@pytest.mark.slow
def test_zeros_that_are_added_on_the_way_cost_less_than_the_smallest_weights() -> None:
    dense = network()
    cut = pruned(dense)
    for tensor in cut.graph.initializer:
        if tensor.name.startswith("w"):
            values = tensors(dense)[tensor.name].copy()
            values[np.abs(values) < np.quantile(np.abs(values), 0.8)] = 0
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    options: dict[str, Any] = {"dense": dense, "move": "all", "steps": 100}
    at_once = onnx_lobs.retrain(cut, DATA, **options).record
    on_the_way = onnx_lobs.retrain(pruned(dense), DATA, sparsity=0.8, **options).record
    assert on_the_way.zeros >= at_once.zeros - 3  # each tensor rounds for itself
    assert on_the_way.loss_after < at_once.loss_after


def test_what_is_given_is_not_changed() -> None:
    before = pruned(network())
    kept = before.SerializeToString()
    onnx_lobs.retrain(before, DATA, dense=network(), steps=2)
    assert before.SerializeToString() == kept


@pytest.mark.parametrize(("samples", "move", "layers"), [(100, "biases", 0), (600, "all", 3)])
def test_samples_say_what_moves(samples: int, move: str, layers: int) -> None:
    some = {"x": X[:samples]}
    record = onnx_lobs.retrain(pruned(network()), some, dense=network(), steps=2).record
    assert (record.move, record.layers) == (move, layers)
    assert record.samples + record.held_samples == samples


def test_the_score_is_told_before_and_after() -> None:
    labels = run(network(), **DATA)["y"].argmax(1)
    test = {**DATA, "label": labels}
    record = onnx_lobs.retrain(pruned(network()), DATA, dense=network(), test=test, steps=30).record
    (score,) = record.scores
    assert (score.name, score.dense, score.n) == ("top1", 1.0, N)
    assert score.after > score.before


@pytest.mark.parametrize(
    ("data", "options", "error", "match"),
    [
        (DATA, {}, ConfigError, "no dense model was given; give it with --dense"),
        (DATA, {"towards": "labels"}, ConfigError, "has none; add an array `label`"),
        (None, {}, DataError, "retraining needs samples"),
        ({"x": X[:1]}, {"towards": "labels"}, DataError, "1 samples make one batch"),
        (DATA, {"rate": 2}, ConfigError, "at most 1: a part of a weight's size"),
        (DATA, {"steps": 0}, ConfigError, "steps is 0; it must be at least 1"),
        (DATA, {"decay": -0.1}, ConfigError, "decay is -0.1; it must be at least 0 and at most 1"),
        (DATA, {"sparsity": 1}, ConfigError, "sparsity is 1; it must be at least 0 and below 1"),
        (DATA, {"move": "some"}, ConfigError, "choose one of auto, biases, observed, all"),
    ],
)
def test_what_cannot_be_done_is_refused(
    data: Any, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        onnx_lobs.retrain(pruned(network()), data, **options)


def test_a_file_is_written_and_an_existing_one_is_not_replaced(tmp_path: Path) -> None:
    found = onnx_lobs.retrain(pruned(network()), DATA, dense=network(), steps=2)
    path = tmp_path / "out.onnx"
    assert found.save(path) == path.stat().st_size
    np.testing.assert_array_equal(run(onnx.load(path), **DATA)["y"], run(found.model, **DATA)["y"])
    with pytest.raises(ConfigError, match="exists"):
        found.save(path)


def perceptron(share: float) -> onnx.ModelProto:
    """Return a network of two weights, large enough to be packed, with a share of zeros."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["y"], name="second"),
    ]
    weights = {"w1": normal(2, 24, 96) / 5, "w2": normal(3, 96, 32) / 10}
    return pruned(model(nodes, [value("x", ["n", 24])], ["y"], weights), share)


@pytest.mark.parametrize("form", ["sparse", "packed"])
def test_weights_that_are_stored_in_less_space_move_too(form: str) -> None:
    data = {"x": normal(4, 400, 24)}
    options: dict[str, Any] = {"dense": perceptron(0), "move": "all", "steps": 5}
    plain, smaller = perceptron(0.9), perceptron(0.9)
    assert len(FORMATS[form].encode(smaller, ["w1", "w2"], None)) == 2
    alike = onnx_lobs.retrain(plain, data, **options)
    found = onnx_lobs.retrain(smaller, data, **options)
    assert found.record.warnings == (
        f"2 {form} tensors are written as dense ones; their zeros are the same",
    )
    for name in ("w1", "w2"):
        np.testing.assert_array_equal(tensors(found.model)[name], tensors(alike.model)[name])


def test_int8_weights_stay_and_the_report_says_so(tmp_path: Path) -> None:
    path, options = tmp_path / "rounded.onnx", {"move": "all", "steps": 5}
    how: dict[str, Any] = {"effort": "fast", "allocation": "uniform", "values": "int8"}
    onnx_lobs.prune(network(), DATA, sparsity=0.5, min_weights=1, **how).save(path)
    record = onnx_lobs.retrain(path, DATA, dense=network(), **options).record
    assert record.layers == 0
    assert record.biases > 0
    assert "3 weights are stored as int8 and stay as they are" in record.warnings[-1]
    data = {"x": normal(4, 400, 24)}
    onnx_lobs.prune(perceptron(0), data, sparsity=0.5, **how).save(path, overwrite=True)
    with pytest.raises(ModelError, match=r"nothing in the model can move \(all\); no weight of"):
        onnx_lobs.retrain(path, data, dense=perceptron(0), **options)
