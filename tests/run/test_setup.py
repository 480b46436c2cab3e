"""A run is opened once: what it goes by stays, and what is wrong is told before any work."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from budget_networks import chain, data

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup, open_run


def opened(log: Log | None = None, **options: Any) -> tuple[Setup, Networks]:
    config = PruneConfig(**{"min_weights": 8, **options})
    return open_run(chain(), data(), None, config, log or Log())


def test_nobody_writes_to_a_setup() -> None:
    setup, networks = opened()
    for record, name in ((setup, "config"), (networks, "pruned")):
        with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign"):
            setattr(record, name, None)


def test_a_setup_at_another_sparsity_differs_in_that_alone() -> None:
    setup, _ = opened(max_output_error=0.1, batch_size=16)
    assert setup.config.sparsity is None
    assert setup.sparsity == 0.5  # the default, until one is looked at
    other = setup.at(0.75)
    assert (other.sparsity, other.config.sparsity) == (0.75, 0.75)
    assert dataclasses.replace(other, config=setup.config) == setup


def test_what_is_skipped_is_told() -> None:
    log = Log()
    setup, _ = opened(log, exclude=("second",))
    assert [layer.name for layer in setup.layers] == ["first", "third"]
    assert [(skip.node, skip.kind) for skip in log.skips] == [("second", "excluded")]
    assert len(setup.slots) == len(setup.layers)


def test_data_that_were_made_up_are_told() -> None:
    log = Log()
    open_run(chain(), None, None, PruneConfig(min_weights=8), log)
    assert [text[:37] for text in log.warnings] == ["no calibration data were given or fou"]


def test_limits_of_a_budget_of_weights_are_checked_when_it_is_opened() -> None:
    with pytest.raises(ConfigError, match=r"allow a sparsity from 0 to 0\.4, and 0\.5 is asked"):
        opened(layer_max={"*": 0.4})
    setup, _ = opened(layer_max={"*": 0.4}, budget="macs")  # what these allow is known later
    assert [slot.most for slot in setup.slots] == [0.4] * 3
