"""Pictures of layers count what the models hold."""

from __future__ import annotations

import numpy as np
import pytest
from budget_networks import chain, data

from onnx_lobs.graph.model import Model
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layers.write import write_weight
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run import layer_pictures
from onnx_lobs.run.layer_pictures import draw_histogram, draw_layers
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup, open_run


@pytest.fixture
def opened() -> tuple[Setup, Networks]:
    return open_run(chain(), data(), None, PruneConfig(min_weights=8), Log())


def matrix(layer: Layer, model: Model) -> np.ndarray:
    tensor = model.constant(model.scopes[layer.scope], layer.weight)
    assert tensor is not None
    return layer.matrix(model.value(tensor))


def halve(layer: Layer, networks: Networks) -> None:
    """Set the first half of a layer's rows to zero in the pruned network."""
    new = matrix(layer, networks.dense).copy()
    new[:, : new.shape[1] // 2] = 0
    write_weight(networks.pruned, layer, layer.layout.from_matrix(new).astype(layer.dtype))


def test_histograms_count_all_weights_but_zeros(opened: tuple[Setup, Networks]) -> None:
    setup, networks = opened
    for layer in setup.layers:
        halve(layer, networks)
    for layer, picture in zip(setup.layers, draw_layers(setup.layers, networks), strict=True):
        before, after = matrix(layer, networks.dense), matrix(layer, networks.pruned)
        assert (picture.name, picture.shape) == (layer.name, after.shape)
        assert sum(picture.histogram.before) == np.count_nonzero(before)
        assert sum(picture.histogram.after) == np.count_nonzero(after)
        assert picture.histogram.low == -picture.histogram.high < 0
        small = (np.abs(before) < picture.histogram.high / layer_pictures.N_BINS) & (before != 0)
        assert picture.histogram.before[layer_pictures.N_BINS // 2] == small.sum()


def test_maps_show_the_share_of_each_cell(
    opened: tuple[Setup, Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, networks = opened
    layer = max(setup.layers, key=lambda one: one.size)
    halve(layer, networks)
    (picture,) = draw_layers([layer], networks)
    kept = matrix(layer, networks.pruned)[0] != 0
    shares = np.frombuffer(picture.kept.shares, np.uint8)
    shares = shares.reshape(picture.kept.rows, picture.kept.columns)
    assert shares.shape == kept.shape  # small enough for a cell for each weight
    assert np.array_equal(shares, 255 * kept)
    monkeypatch.setattr(layer_pictures, "MAP_SIZE", (3, 2))
    (picture,) = draw_layers([layer], networks)
    found = np.frombuffer(picture.kept.shares, np.uint8).reshape(3, 2)
    rows = np.linspace(0, kept.shape[0], 4).astype(int)
    columns = np.linspace(0, kept.shape[1], 3).astype(int)
    for i in range(3):
        for j in range(2):
            cell = kept[rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
            assert found[i, j] == np.ceil(255 * cell.mean())


def test_the_largest_layers_are_drawn_in_the_order_of_the_model(
    opened: tuple[Setup, Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, networks = opened
    assert len(setup.layers) > 2
    monkeypatch.setattr(layer_pictures, "MOST_LAYERS", 2)
    names = [picture.name for picture in draw_layers(setup.layers, networks)]
    largest = sorted(setup.layers, key=lambda one: -one.size)[:2]
    assert names == [layer.name for layer in setup.layers if layer in largest]


def test_very_large_layers_are_counted_in_part(
    opened: tuple[Setup, Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, networks = opened
    monkeypatch.setattr(layer_pictures, "MOST_COUNTED", 10)
    for picture in draw_layers(setup.layers, networks):
        assert 0 < sum(picture.histogram.before) <= 10


def test_weights_as_small_as_floats_can_be_are_counted() -> None:
    tiny = np.full(6, 5e-324)
    assert sum(draw_histogram(tiny, -tiny).before) == 6
