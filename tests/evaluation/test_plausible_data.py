"""Signs of wrong samples: what raises a warning, and what does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from build_onnx import Array, model, normal, value
from networks import Network, batches_of
from onnx.helper import make_node

from onnx_lobs.data.batches import Batches
from onnx_lobs.evaluation.final_activation import final_activations
from onnx_lobs.evaluation.judged_network import JudgedNetwork, open_judged
from onnx_lobs.evaluation.plausible_data import ENOUGH, doubtful_outputs, doubtful_samples
from onnx_lobs.graph.model import Model

X = normal(1, 40, 6)


def test_one_sample_is_too_few() -> None:
    (text,) = doubtful_samples(batches_of(X[:1]))
    assert "there is one sample (arrays)" in text
    assert "give some hundred" in text


ALIKE: dict[str, tuple[Array, str]] = {
    "zero": (0 * X, "zero"),
    "equal": (np.repeat(X[:1], 40, 0), "the same"),
    "ones": (0 * X + 1, "the same"),
}


@pytest.mark.parametrize("how", ALIKE)
@pytest.mark.parametrize("cut", [40, 17])
def test_samples_that_are_all_alike_are_as_few(how: str, cut: int) -> None:
    x, word = ALIKE[how]
    (text,) = doubtful_samples(batches_of(x[:cut], x[cut:]) if cut < 40 else batches_of(x))
    assert f"all 40 samples are {word} (arrays)" in text


@pytest.mark.parametrize("row", [1, 20, 39])
def test_one_sample_that_differs_is_enough(row: int) -> None:
    x = np.repeat(X[:1], 40, 0)
    x[row, 3] += 1
    assert doubtful_samples(batches_of(x[:20], x[20:])) == []


def test_inputs_without_a_part_for_each_sample_are_compared_as_a_whole() -> None:
    def batches(rates: list[float]) -> Batches:
        return Batches(lambda i: {"x": X[:3] * 0, "rate": np.array(rates[i])}, (3, 3), "arrays")

    assert doubtful_samples(batches([8.0, 16.0])) == []
    (text,) = doubtful_samples(batches([8.0, 8.0]))
    assert "all 6 samples are the same" in text


def test_only_as_much_is_read_as_it_takes_to_find_a_difference() -> None:
    read: list[int] = []

    def load(i: int) -> dict[str, Array]:
        read.append(i)
        return {"x": X}

    assert doubtful_samples(Batches(load, (40, 40), "arrays")) == []
    assert read == [0]


CONSTANT: dict[str, Callable[[Array], Array]] = {
    "exactly": lambda x: np.repeat([[0.25, 0.5]], len(x), 0),
    "to rounding": lambda x: 3 + 1e-8 * x,
    "zeros": lambda x: 0 * x,
}


@pytest.mark.parametrize("how", CONSTANT)
def test_outputs_that_do_not_depend_on_the_samples_are_doubted(how: str) -> None:
    """The sentence says what the inputs are, and asks for the scale."""
    network = JudgedNetwork(Network(y=CONSTANT[how], index=lambda x: np.arange(len(x))))
    data = batches_of(np.linspace(0, 255, 60).reshape(20, 3), np.full((10, 3), 7.0))
    (text,) = doubtful_outputs(network, data)
    assert "outputs are the same for all of 30 samples" in text
    assert "'x' goes from 0 to 255" in text
    assert "scaled" in text


VARYING: dict[str, dict[str, Callable[[Array], object]]] = {
    "all": {"y": lambda x: x},
    "one of two": {"y": lambda x: 0 * x, "z": lambda x: x},
    "a little": {"y": lambda x: 1 + 1e-3 * x},
    "no floats": {"y": lambda x: np.ones(len(x), np.int64)},
    "not by sample": {"y": lambda x: np.ones(len(x) + 1)},
    "no tensors": {"y": lambda x: [{0: 1.0}] * len(x)},
    "empty": {"y": lambda x: np.zeros((len(x), 0))},
    "of changing size": {"y": lambda x: np.zeros((len(x), len(x)))},
    "nan": {"y": lambda x: np.full(len(x), np.nan)},
}


@pytest.mark.parametrize("what", VARYING)
def test_other_outputs_are_not(what: str) -> None:
    network = JudgedNetwork(Network(**VARYING[what]))
    assert doubtful_outputs(network, batches_of(X[:20], X[20:30])) == []


def test_no_more_is_run_than_enough_samples_or_batches() -> None:
    network = Network(y=lambda x: x)
    data = batches_of(*(normal(i, ENOUGH // 2, 6) for i in range(5)))
    doubtful_outputs(JudgedNetwork(network), data)
    assert network.runs == 2
    doubtful_outputs(JudgedNetwork(network), data, most=1)
    assert network.runs == 3


def ending(op: str) -> JudgedNetwork:
    nodes = [make_node("Mul", ["x", "gain"], ["z"]), make_node(op, ["z"], ["y"])]
    weights = {"gain": np.array(1.0, np.float32)}
    index = Model(model(nodes, [value("x", ["n", 6])], ["y"], weights), None)
    provider = "CPUExecutionProvider"
    return open_judged(index, final_activations(index), provider=provider, limit=1 << 30)


@pytest.mark.parametrize("op", ["Softmax", "Sigmoid"])
def test_a_network_that_is_wholly_sure_of_every_sample_is_doubted(op: str) -> None:
    wild = 1e4 * X + 100 * np.sign(X)
    assert np.diff(np.sort(wild, axis=1), axis=1)[:, -1].min() > 30
    (text,) = doubtful_outputs(ending(op), batches_of(wild))
    assert "output 'y' is 0 or 1 to the last digit for 40 of 40 samples" in text


@pytest.mark.parametrize("op", ["Softmax", "Sigmoid", "LogSoftmax"])
@pytest.mark.parametrize("gain", [1, 12])
def test_a_network_that_is_sure_of_most_is_not(op: str, gain: float) -> None:
    assert doubtful_outputs(ending(op), batches_of(gain * X)) == []


def test_few_samples_may_all_be_sure_ones() -> None:
    assert doubtful_outputs(ending("Softmax"), batches_of(1e4 * X[:8])) == []
