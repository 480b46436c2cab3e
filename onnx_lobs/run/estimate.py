"""Estimates the time and memory of a run, from one timed batch and the sizes of the layers.

Times are flops over the speed of one product of matrices, measured now, so that a slow or busy
machine counts; the factors are fitted to runs of networks of 0.06 to 5 million weights.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import numpy as np

from onnx_lobs.arrays import FloatArray
from onnx_lobs.layers.layer import Layer
from onnx_lobs.memory.resident import resident_bytes
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup

_SIDE, _PRODUCTS = 512, 9  # of the product that measures speed
_TIMED, _ENOUGH = 16, 1.0  # batches that are timed, or seconds
_TRIAL_OBSERVED = 8_192  # observations that a trial reads of a convolution, at the most, about
_QUICK_SOLVE = 2.0
# flops of a solve over groups (d³ + rows d²), by method; others are like sparsegpt
_SOLVES = {"joint": 60.0, "exact-obs": 8.0, "iht": 20.0, "lobs-iterative": 20.0}
_PLAIN_SOLVE, _FREE_SOLVE = 3.0, 0.1
_SEARCHES = {"joint": 1.2e9, "exact-obs": 2e8}  # flops beside that, of however small a layer
_FREE = ("magnitude", "random", "wanda", "obd", "apoz", "correlation")
_EFFORTS = {"fast": 0.4, "default": 1.0, "best": 3.0}
PER_LAYER = 0.02  # seconds to open sessions and to read and write, of one layer
_OBSERVED = 65_536  # observations of a convolution that calibration reads, at the most, about
_HESSIANS = 6  # matrices d x d, or rows x d, that a solver holds at once
_ACCURATE = 8  # bytes of a number


def flops_per_second() -> float:
    """Return the speed of products of float64 matrices. Cost: some tens of milliseconds."""
    one = np.random.default_rng(0).standard_normal((_SIDE, _SIDE))
    times = []
    for _ in range(_PRODUCTS):
        started = time.perf_counter()
        one @ one
        times.append(time.perf_counter() - started)
    return 2.0 * _SIDE**3 / float(np.median(times))


def batch_seconds(setup: Setup, networks: Networks) -> float:
    """Return the mean time of a batch of the dense network, over a few after the first."""
    network = networks.open(networks.dense)
    network.run(next(iter(setup.batches)))
    started, count = time.perf_counter(), 0
    for feeds in itertools.islice(itertools.cycle(setup.batches), _TIMED):
        network.run(feeds)
        count += 1
        if time.perf_counter() - started > _ENOUGH:
            break
    return (time.perf_counter() - started) / count


def solve_seconds(setup: Setup, observations: FloatArray, speed: float, part: float = 1.0) -> float:
    """Return the time to calibrate and solve all layers on a part of the data, without passes."""
    effort = _EFFORTS[setup.config.effort] if setup.config.method == "joint" else 1.0
    total = 0.0
    for layer, each in zip(setup.layers, observations, strict=True):
        seen = min(each * setup.batches.n_samples, max(_OBSERVED, setup.batches.n_samples)) * part
        total += gram_flops(layer, seen) + effort * _solve_flops(layer, setup.config.method)
    return total / speed + PER_LAYER * len(setup.layers)


def trial_seconds(setup: Setup, observations: FloatArray, samples: int, speed: float) -> float:
    """Return the time of a trial on so many samples, without passes over them."""
    total = 0.0
    for layer, each in zip(setup.layers, observations, strict=True):
        d, layout = float(layer.layout.columns), layer.layout
        seen = min(each * samples, max(_TRIAL_OBSERVED, samples))
        total += gram_flops(layer, seen) + _QUICK_SOLVE * layout.groups * layout.rows * d**2
    return total / speed + PER_LAYER * len(setup.layers)


def gram_flops(layer: Layer, observations: float) -> float:
    """Return the flops of a layer's Gram, in float32 and so twice as fast, and of its factor."""
    d = float(layer.layout.columns)
    return layer.layout.groups * d**2 * (observations + d)


def _solve_flops(layer: Layer, method: str) -> float:
    layout, d = layer.layout, float(layer.layout.columns)
    factor = _SOLVES.get(method, _FREE_SOLVE if method in _FREE else _PLAIN_SOLVE)
    search = _SEARCHES.get(method, 0.0)
    return search + factor * layout.groups * (d**3 + layout.rows * d**2)


def peak_bytes(setup: Setup, networks: Networks, observations: Sequence[float]) -> int | None:
    """Return the bytes of the process at the peak, about, or None where nothing tells them now.

    That is what it holds after opening and one batch, two more copies of the weights, what the
    largest layer's solver holds, and the activations that are kept between layers.
    """
    held = resident_bytes()
    if held is None:
        return None
    solver = kept = 0.0
    for layer, each in zip(setup.layers, observations, strict=True):
        layout = layer.layout
        d, rows = layout.columns, layout.rows
        solver = max(solver, _ACCURATE * _HESSIANS * layout.groups * (d * d + rows * d))
        outputs = 4.0 * each * setup.batches.n_samples * layout.groups * rows
        kept = max(kept, 2 * min(outputs, setup.memory.activations))
    return int(held + 2 * networks.dense.weight_bytes + solver + kept)
