"""What targets set, what they refuse, and what they promise."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.config import OPTIONS, PruneConfig
from onnx_lobs.options.output import TARGETS
from onnx_lobs.targets.expect import FEWER_CHANNELS, PrunedFacts, expectations
from onnx_lobs.targets.runtimes import RUNTIMES, check_options, fill_options, set_by

NAMES = ("pattern", "storage", "values", "activations", "sparsity")


def checked(config: PruneConfig) -> None:
    assert config.target is not None
    check_options(config.target, {name: getattr(config, name) for name in NAMES})


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_target_sets_is_possible_and_does_not_contradict_it(target: str) -> None:
    filled = fill_options({"target": target}, ["target"])
    checked(PruneConfig(**filled))
    assert set(set_by(target)) <= set(filled) <= set(OPTIONS)


def test_options_that_are_given_win_even_with_their_defaults() -> None:
    values = {"target": "mnn", "pattern": "unstructured", "budget": "weights"}
    filled = fill_options(values, ["target", "pattern"])
    assert filled["pattern"] == "unstructured"
    assert filled["budget"] == "macs"


@pytest.mark.parametrize(("optimise", "budget"), [("speed", "macs"), ("Size", "weights")])
def test_c_code_saves_multiplications_or_bytes(optimise: str, budget: str) -> None:
    assert fill_options({"target": "c", "optimise": optimise}, ["target"])["budget"] == budget
    given = {"target": "c", "optimise": optimise, "budget": "bytes"}
    assert fill_options(given, list(given))["budget"] == "bytes"


@pytest.mark.parametrize(("target", "storage"), [("openvino", "dense"), ("onnxruntime", "packed")])
def test_openvino_gets_int8_that_it_computes_with(target: str, storage: str) -> None:
    values = {"target": target, "values": "int8", "activations": "int8"}
    assert fill_options(values, list(values))["storage"] == storage


def test_without_a_target_nothing_is_set() -> None:
    assert fill_options({"pattern": "2:4"}, []) == {"pattern": "2:4"}
    assert set_by(None) == ()


@pytest.mark.parametrize(("given", "sparsity"), [({}, 0.75), ({"sparsity": 0.9}, 0.9)])
def test_xnnpack_asks_for_more_zeros_than_the_default(
    given: dict[str, float], sparsity: float
) -> None:
    assert fill_options({"target": "XNNPACK", **given}, list(given))["sparsity"] == sparsity


@pytest.mark.parametrize("given", [{"max_drop": 0.01}, {"rounds": (0.7, 0.9)}])
def test_limits_and_rounds_take_the_place_of_the_sparsity_of_a_target(
    given: dict[str, Any],
) -> None:
    assert "sparsity" not in fill_options({"target": "xnnpack", **given}, list(given))


@pytest.mark.parametrize(
    ("target", "given", "message"),
    [
        ("mnn", {"pattern": "2:4"}, "mnn with --pattern 2:4: .* take 4x1"),
        ("mnn", {"pattern": "1x4"}, "take 4x1"),
        ("mnn", {"storage": "sparse"}, "mnn with --format sparse: .* take dense"),
        ("mnn", {"values": "int8"}, "float32 only; take fp32"),
        ("mnn", {"sparsity": 0.3}, "fewer than 30 % of them; ask for more"),
        ("mnn", {"pattern": "unstructured", "sparsity": 0.5}, "fewer than 60 %"),
        ("xnnpack", {"sparsity": 0.6}, "1x1 convolutions that have fewer than 67 %"),
        ("xnnpack", {"pattern": "8x1"}, "take one of them"),
        ("tensorrt", {"pattern": "unstructured"}, "take 2:4"),
        ("tensorrt", {"storage": "packed"}, "take dense"),
        ("openvino", {"storage": "sparse"}, "take packed or dense"),
        ("c", {"values": "fp16"}, "int8 or float32; take one of these"),
        ("c", {"activations": "int8"}, "grids of its own; leave it out"),
    ],
)
def test_contradictions_are_one_line(target: str, given: dict[str, Any], message: str) -> None:
    filled = fill_options({"target": target, **given}, list(given))
    with pytest.raises(ConfigError, match=message):
        checked(PruneConfig(**filled))


FACTS = PrunedFacts(0.8, "4x1", (1000, 250), "fp32", 0.8)


@pytest.mark.parametrize("target", TARGETS)
def test_what_channels_brought_is_told_first_and_not_advised_again(target: str) -> None:
    first, *others = expectations(target, dataclasses.replace(FACTS, fewer_channels=True))
    assert first == FEWER_CHANNELS
    assert not any("removing channels" in text for text in others)
    assert FEWER_CHANNELS not in expectations(target, FACTS)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_says_what_to_expect(target: str) -> None:
    assert all(expectations(target, FACTS))
    assert set(RUNTIMES) == set(TARGETS)


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_runtimes_that_multiply_zeros_are_said_to_be_no_faster(target: str) -> None:
    first = expectations(target, FACTS)[0]
    assert "no faster on this runtime; the file is 750 bytes smaller (0.25 of its size)" in first


@pytest.mark.parametrize(
    ("sparsity", "pattern", "words"),
    [
        (0.8, "4x1", "about 2.5 times"),
        (0.9, "4x1", "about 3.6 times"),
        (0.9, "unstructured", "about 2.5 times"),
        (0.65, "unstructured", "no faster"),
    ],
)
def test_mnn_promises_what_was_measured(sparsity: float, pattern: str, words: str) -> None:
    assert words in expectations("mnn", PrunedFacts(sparsity, pattern, None, "fp32", None))[0]


@pytest.mark.parametrize(
    ("pointwise", "words"),
    [(None, "has no 1x1 convolution"), (0.6, "60 % of the weights"), (0.7, "1.2 to 2.4")],
)
def test_xnnpack_looks_at_1x1_convolutions(pointwise: float | None, words: str) -> None:
    found = expectations("xnnpack", PrunedFacts(0.8, "4x1", None, "fp32", pointwise))
    assert words in found[0]
    assert found[0].startswith("no faster") == (pointwise is None or pointwise <= 2 / 3)
