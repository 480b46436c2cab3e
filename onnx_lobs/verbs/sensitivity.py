"""Measures how the output error and the score depend on sparsity, per layer and in all.

It is what the search for an allocation measures: every layer's error curve, what the outputs make
of that error, and quick trials of the whole network.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnx_lobs.errors import ConfigError
from onnx_lobs.graph.files.source import ModelSource, as_source
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.arena import gives_back
from onnx_lobs.memory.scratch import scratch_in
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.report.progress import Progress, as_progress
from onnx_lobs.report.sensitivity import LayerSensitivity, NetworkSensitivity, Sensitivity
from onnx_lobs.report.stages import CountedStages
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.outcome import score_dense
from onnx_lobs.run.setup import Setup, open_run
from onnx_lobs.search.candidates import GLOBAL, candidate, plain_name
from onnx_lobs.search.costs import observe_costs
from onnx_lobs.search.groundwork import Measured, measure
from onnx_lobs.search.measure import SHARES, MeasuredLayers
from onnx_lobs.search.trials import remember_dense
from onnx_lobs.verbs.stages import CHOOSING, SCORING

LEVEL = 0.7  # sparsity at which the outputs are measured with one layer pruned


@gives_back
def sensitivity(
    model: ModelSource,
    data: Any,
    config: PruneConfig,
    *,
    sparsities: Sequence[float],
    test: Any = None,
    progress: Progress | None = None,
) -> Sensitivity:
    """Measure errors and the score at several sparsities.

    Parameters
    ----------
    model, data, test
        As for :func:`onnx_lobs.prune`.
    config
        The options that choose layers and data; its sparsity and allocation are not read.
    sparsities
        Fractions of zeros, at least one.
    progress
        Told of every step.

    Raises
    ------
    ConfigError
        When the pattern has one share of zeros only, or the model runs in stages.
    ModelError, DataError, InferenceError
        As for :func:`onnx_lobs.prune`.

    Notes
    -----
    Cost: one pass over a part of the data, one elimination per layer, and per sparsity two quick
    trials; with test data as many passes over these.
    """
    started, log = time.perf_counter(), Log()
    levels = tuple(sorted(set(sparsities)))
    told = CountedStages(as_progress(progress), (SCORING, CHOOSING))
    with scratch_in(config.scratch) as scratch:
        told.start("opening the model and the data", 1)
        setup, networks = open_run(as_source(model), data, test, config, log, scratch)
        setup = setup.at(LEVEL)
        _check(setup, networks)
        dense = score_dense(setup, networks, told, log)
        costs, known = observe_costs(setup, networks), remember_dense(setup, networks)
        found = measure(setup, networks, costs, scratch, told, known)
        told.start("trying allocations", 2 * len(levels))
        lines = [
            _network(setup, found, name, levels, told)
            for name in (plain_name(found.layers, levels[-1]), GLOBAL)
        ]
    return Sensitivity(
        model=str(setup.loaded.path or "model"),
        data=setup.batches.origin,
        sparsities=levels,
        layers=tuple(_layers(found.layers, levels)),
        networks=tuple(lines),
        score=None if dense is None or setup.scoring is None else setup.scoring.score.name,
        dense_score=None if dense is None else dense.value,
        is_fraction=setup.scoring is not None and setup.scoring.score.is_fraction,
        seconds=time.perf_counter() - started,
        warnings=log.warnings,
    )


def _check(setup: Setup, networks: Networks) -> None:
    """Raise ConfigError where errors have no curve over sparsity."""
    if setup.pattern.own_sparsity is not None or setup.pattern.tile is None:
        raise ConfigError(
            f"pattern {setup.pattern} has no curve over sparsity; choose unstructured or blocks"
        )
    if networks.is_staged:
        raise ConfigError(
            "sensitivities need the whole model in one session, but its weights exceed their "
            "share of --memory; give more"
        )


def _layers(measured: MeasuredLayers, levels: Sequence[float]) -> list[LayerSensitivity]:
    """Return the curves of the layers at some sparsities."""
    found = []
    for layer, curve, factor in zip(
        measured.layers, measured.losses, measured.sensitivity, strict=True
    ):
        errors = np.interp(levels, SHARES, curve)
        own, whole = map(tuple, (errors.tolist(), (factor * errors).tolist()))
        found.append(LayerSensitivity(layer.name, layer.size, float(factor), own, whole))
    return found


def _network(
    setup: Setup, found: Measured, name: str, levels: Sequence[float], told: Progress
) -> NetworkSensitivity:
    """Return what quick trials say of the whole network, its zeros shared in one way."""
    errors, scores = [], []
    for level in levels:
        model = found.trials.pruned(candidate(found.layers, level, name))
        change = found.trials.loss_of(model).change
        assert change is not None  # or the judge had raised
        errors.append(change)
        scores += [] if setup.scoring is None else [_score(setup, found, model)]
        told.advance()
    return NetworkSensitivity(name, tuple(errors), tuple(scores))


def _score(setup: Setup, found: Measured, model: Model) -> float:
    assert setup.scoring is not None
    networks = found.trials.networks
    dense = networks.open_judged(networks.dense)
    return setup.scoring.measure(networks.open_judged(model), dense).value
