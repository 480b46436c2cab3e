"""Picks the samples that trials are fitted to, and those that score them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from onnx_lobs.data.batches import Batches
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.slots import layer_key

LEAST_SAMPLES = 32  # of a trial
LEAST_SCORED, MOST_SCORED = 64, 512  # samples that score a trial
SCORED_FLOPS = 4e9  # of forward passes, a tenth of a second, within which more samples score it
PLENTY = 4096  # but no more than these
OBSERVATIONS_PER_INPUT = 2  # of each layer in a trial, if there are so many
MOST_WEIGHTS = 0.6  # share of the weights, in layers that get so many
NEARLY_ALL, MORE_SAMPLES = 0.95, 128  # the same for up to so many samples
FINAL_SCORED = 0.25  # of the data, for the finalists
MOST_FITTED = 1 - FINAL_SCORED  # of the data that they are fitted to


def samples_needed(setup: Setup, observations: Mapping[str, float]) -> int:
    """Return the samples that give the layers enough observations, `observations` of each sample.

    That is OBSERVATIONS_PER_INPUT times the inputs, for the layers that hold most of the weights; a
    classifier behind convolutions, with one observation a sample, does not make all trials long. It
    may make them MORE_SAMPLES long: with 32 the trials of a network whose classifier repairs much
    of what convolutions lose ranked its allocations the wrong way round.
    """
    sizes = np.array([layer.size for layer in setup.layers], dtype=np.float64)
    wanted = np.array(
        [
            OBSERVATIONS_PER_INPUT
            * layer.layout.columns
            / max(observations[layer_key(layer)], 1e-9)
            for layer in setup.layers
        ]
    )
    order = np.argsort(wanted, kind="stable")
    below = np.cumsum(sizes[order]) / sizes.sum()
    enough, nearly = (
        math.ceil(wanted[order][np.searchsorted(below, share)])
        for share in (MOST_WEIGHTS, NEARLY_ALL)
    )
    return int(max(LEAST_SAMPLES, enough, min(MORE_SAMPLES, nearly)))


def samples_scored(setup: Setup, observations: Mapping[str, float], samples: int) -> int:
    """Return how many samples score a trial that is fitted to `samples`.

    As many, but LEAST_SCORED to MOST_SCORED, or up to PLENTY of half of the data if SCORED_FLOPS
    suffice: that allocation wins which the scored samples favour, so where they cost next to
    nothing there are many.
    """
    affordable = int(SCORED_FLOPS / max(forward_flops(setup, observations), 1.0))
    plenty = min(affordable, setup.batches.n_samples // 2, PLENTY)
    return max(min(max(samples, LEAST_SCORED), MOST_SCORED), plenty)


def forward_flops(setup: Setup, observations: Mapping[str, float]) -> float:
    """Return the flops of the layers in a forward pass of one sample."""
    return sum(2.0 * layer.size * observations[layer_key(layer)] for layer in setup.layers)


def trial_flops(
    setup: Setup, observations: Mapping[str, float], samples: int, scored: int
) -> float:
    """Return the flops of a trial, about: Grams, factors, SparseGPT, and the passes that score."""
    total = scored * forward_flops(setup, observations)
    for layer in setup.layers:
        d, groups = float(layer.layout.columns), layer.layout.groups
        total += groups * d**2 * (samples * observations[layer_key(layer)] + d) + 2 * layer.size * d
    return total


def split(batches: Batches, samples: int, scored: int) -> tuple[Batches, Batches]:
    """Return batches of about `samples` samples to fit on, and of `scored` others to score on.

    Each is at most half of the data. With one batch only, both are that batch.
    """
    if len(batches) < 2:
        return batches, batches
    per_batch, half = batches.n_samples / len(batches), len(batches) // 2
    counts = [min(max(math.ceil(n / per_batch), 1), half) for n in (samples, scored)]
    every = np.arange(len(batches))
    fit = np.linspace(0, len(batches) - 1, counts[0]).round().astype(int)
    others = np.setdiff1d(every, fit)
    rest = others[np.linspace(0, len(others) - 1, counts[1]).round().astype(int)]
    return batches.pick(fit), batches.pick(rest)


def split_finally(batches: Batches, share: float = MOST_FITTED) -> tuple[Batches, Batches]:
    """Return a share of the batches to fit finalists on, and FINAL_SCORED of them to score on.

    With one batch only, both are that batch.
    """
    n = len(batches)
    if n < 2:
        return batches, batches
    scored = max(round(FINAL_SCORED * n), 1)
    held = ((np.arange(scored) + 0.5) * n / scored).astype(int)
    rest = np.setdiff1d(np.arange(n), held)
    count = int(np.clip(math.ceil(share * n), 1, rest.size))
    fit = rest[np.linspace(0, rest.size - 1, count).round().astype(int)]
    return batches.pick(fit), batches.pick(held)
