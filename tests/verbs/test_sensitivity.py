"""Errors against sparsity are what pruning one layer, or all, does to the outputs."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from build_onnx import model, normal, run, two_layers, value

import onnx_lobs
from onnx_lobs import ConfigError, PruneConfig
from onnx_lobs.report.sensitivity import Sensitivity, by_harm, plot_sensitivity
from onnx_lobs.verbs.sensitivity import sensitivity

LEVELS = (0.5, 0.7, 0.9)
ALIKE = 3.0  # times: curves look at some rows, and trials at few samples

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found() -> Sensitivity:
    x = normal(3, 256, 16)
    labels = run(two_layers(), x=x)["y"].argmax(1)
    return sensitivity(
        two_layers(), {"x": x}, PruneConfig(), sparsities=LEVELS, test={"x": x, "label": labels}
    )


def test_errors_grow_and_scores_fall_with_sparsity(found: Sensitivity) -> None:
    assert found.sparsities == LEVELS
    for layer in found.layers:
        assert list(layer.output_errors) == sorted(layer.output_errors)
    for line in found.networks:
        assert list(line.output_errors) == sorted(line.output_errors)
        assert line.scores[0] > line.scores[-1]
    assert (found.score, found.dense_score, found.is_fraction) == ("top1", 1.0, True)


@pytest.mark.parametrize("name", ["first", "second"])
def test_one_layer_alone_costs_what_pruning_it_alone_costs(found: Sensitivity, name: str) -> None:
    layer = next(layer for layer in found.layers if layer.name == name)
    report = onnx_lobs.prune(
        two_layers(), {"x": normal(3, 256, 16)}, sparsity=0.7, include=(name,), method="sparsegpt"
    ).report
    assert report.output.error is not None
    assert 1 / ALIKE < layer.output_errors[1] / report.output.error < ALIKE


def test_the_worst_layer_comes_first_and_lines_are_drawn(found: Sensitivity) -> None:
    harm = [layer.output_errors[-1] for layer in by_harm(found)]
    assert harm == sorted(harm, reverse=True)
    root = ElementTree.fromstring(plot_sensitivity(found))
    texts = {node.text for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"first", "second", "all layers, uniform", "50 %", "90 %"} <= texts


def test_the_record_is_json(found: Sensitivity) -> None:
    record = json.loads(found.to_json())
    assert record["sparsities"] == list(LEVELS)
    assert [layer["name"] for layer in record["layers"]] == ["first", "second"]


@pytest.mark.parametrize("pattern", ["2:4"])
def test_a_pattern_with_one_share_has_no_curve(pattern: str) -> None:
    with pytest.raises(ConfigError, match=f"pattern {pattern} has no curve over sparsity"):
        sensitivity(
            two_layers(), {"x": normal(3, 64, 16)}, PruneConfig(pattern=pattern), sparsities=LEVELS
        )


def test_a_model_beyond_its_memory_is_refused() -> None:
    wide = {"w0": normal(1, 800, 400), "w1": normal(2, 10, 800)}
    nodes = two_layers().graph.node
    proto = model(list(nodes), [value("x", ["n", 400])], [value("y", ["n", 10])], wide)
    with pytest.raises(ConfigError, match="exceed their share of --memory; give more"):
        sensitivity(proto, {"x": normal(3, 8, 400)}, PruneConfig(memory=1 << 20), sparsities=LEVELS)


def test_without_labels_there_are_no_scores() -> None:
    found = sensitivity(two_layers(), {"x": normal(3, 64, 16)}, PruneConfig(), sparsities=(0.5,))
    assert (found.score, found.dense_score) == (None, None)
    assert all(line.scores == () for line in found.networks)
    assert np.isfinite(found.networks[0].output_errors[0])
