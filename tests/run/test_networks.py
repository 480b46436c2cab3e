"""Three models of a run: two run, one is delivered, and the dense one stays as it is."""

from __future__ import annotations

import numpy as np
from budget_networks import chain, data

from onnx_lobs.graph.model import Model
from onnx_lobs.layers.write import write_weight
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.log import Log
from onnx_lobs.run.setup import open_run


def test_copies_begin_as_the_dense_network_and_change_by_themselves() -> None:
    setup, networks = open_run(chain(), data(), None, PruneConfig(min_weights=8), Log())
    layer = setup.layers[0]

    def stored(model: Model) -> np.ndarray:
        tensor = model.constant(model.scopes[layer.scope], layer.weight)
        assert tensor is not None
        return np.array(model.value(tensor))

    before = stored(networks.dense)
    renewed, trial = networks.renewed(), networks.on_trial()
    copies = (renewed.pruned, renewed.result, trial.pruned)
    for copy in copies:
        assert np.array_equal(stored(copy), before)
        write_weight(copy, layer, np.zeros_like(before))
        assert not stored(copy).any()
    for model in (networks.dense, networks.pruned, networks.result):
        assert np.array_equal(stored(model), before)
    assert renewed.dense is trial.dense is trial.result is networks.dense


def test_weights_beyond_the_limit_make_it_run_in_stages() -> None:
    _, networks = open_run(chain(), data(), None, PruneConfig(min_weights=8), Log())
    assert not networks.is_staged
    only = networks.only_dense()
    assert only.pruned is only.result is only.dense is networks.dense
    x = data()["x"][:4]
    whole = networks.open(networks.dense).run({"x": x})["y"]
    assert np.array_equal(only.open(only.pruned).run({"x": x})["y"], whole)
