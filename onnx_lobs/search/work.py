"""Estimates the work of a run and of its trials, which keeps trials in proportion.

The unit is one floating-point operation of a large product, of which a core does some 10^10 a
second. Calls of a solver or a session are counted as what they cost beside the arithmetic. Work
that is counted is the same on every machine, so what it decides is too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx_lobs.layers.layer import Layer
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.slots import layer_key
from onnx_lobs.search.measure import curve_flops
from onnx_lobs.search.trial_samples import FINAL_SCORED, forward_flops
from onnx_lobs.search.trials import LEAST_OBSERVATIONS, POSITIONS, SCORED_ALONE

# a layer, beside the arithmetic: in a trial (sessions, moments), when it is measured (a session of
# the whole network), when it is solved (hundreds of steps on small matrices)
TRIED, MEASURED, SOLVED = 1e9, 5e9, 1e10
STEPS, FACTORS = 200.0, 30.0  # of a layer's method: products W H, and factors of H
QUICK_FACTORS = 10.0  # of a quick solve
FINAL = 0.5  # of the method's work with less effort


@dataclass(frozen=True)
class Work:
    """The work of a run without trials, of measuring its layers, of a trial, and of a final.

    ``final`` is what finals do whatever data they get, ``final_data`` what all data add to that.
    """

    run: float
    measuring: float
    trial: float
    final: float
    final_data: float

    def final_on(self, share: float) -> float:
        """Return the work of a final that is fitted to a share of the data."""
        return self.final + share * self.final_data


def estimate_work(
    setup: Setup, observations: Mapping[str, float], samples: int, scored: int
) -> Work:
    """Return the work of a run's parts.

    Parameters
    ----------
    observations
        That a sample gives each layer, by its key.
    samples, scored
        That a trial is fitted to, and that score it.
    """
    n, forward = setup.batches.n_samples, forward_flops(setup, observations)
    positions, least = setup.config.positions, setup.least_observations
    few = min(positions or POSITIONS, POSITIONS)
    grams = few_grams = solving = quick = alone = 0.0
    for layer in setup.layers:
        of_each = observations[layer_key(layer)]
        d = float(layer.layout.columns)
        gram = layer.layout.groups * d**2
        grams += gram * _read(layer, n * of_each, positions, least)
        few_grams += gram * _read(layer, samples * of_each, few, LEAST_OBSERVATIONS)
        solving += SOLVED + STEPS * 2 * layer.size * d + FACTORS * gram * d
        quick += TRIED + 2 * layer.size * d + QUICK_FACTORS * gram * d
        alone += MEASURED + SCORED_ALONE * forward + curve_flops(layer, setup.config.effort)
    return Work(
        run=4 * n * forward + grams + solving,
        measuring=samples * forward + few_grams + quick + alone,
        trial=(samples + scored) * forward + few_grams + quick,
        final=FINAL_SCORED * n * forward + FINAL * solving,
        final_data=n * forward + grams,
    )


def _read(layer: Layer, n: float, positions: int | None, least: int) -> float:
    """Return the observations that calibration reads of `n`."""
    if layer.uses[0].unfold is None or positions is None:
        return n
    return min(n, max(positions * layer.layout.columns, least))
