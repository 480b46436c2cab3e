"""A group's sensitivity is the same whether the network runs as a whole or from its layers on."""

from __future__ import annotations

import coupled_networks as nets
import numpy as np
import pytest
from coupled_networks import Middle, between, samples

from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.report.progress import Silent
from onnx_lobs.run.channels.choice import open_coupling
from onnx_lobs.run.log import Log
from onnx_lobs.run.setup import open_run
from onnx_lobs.search.channels import sensitivity
from onnx_lobs.search.channels.measure import measure_channels
from onnx_lobs.search.channels.sensitivity import FLOOR, sensitivities

SUMS = 1e-4  # relative: float32, fused differently in pieces than in the whole


@pytest.mark.slow
@pytest.mark.parametrize("middle", [nets.residual, nets.gate, nets.depthwise])
def test_running_from_the_layers_on_changes_nothing(
    middle: Middle, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [{"x": samples(n=8, seed=seed)["x"]} for seed in range(4)]
    config = PruneConfig(pattern="channels", sparsity=0.3, positions=None)
    log = Log()
    setup, networks = open_run(between(middle), batches, None, config, log)
    scratch = Scratch()
    coupling = open_coupling(setup, networks, log)
    measured = measure_channels(setup, networks, coupling, scratch, Silent())
    found = sensitivities(setup, networks, measured, scratch, Silent())
    monkeypatch.setattr(sensitivity, "can_be_cut", lambda _: False)
    whole = sensitivities(setup, networks, measured, scratch, Silent())
    assert len(found) == len(coupling.groups)
    assert max(found) > FLOOR
    np.testing.assert_allclose(found, whole, rtol=SUMS)
