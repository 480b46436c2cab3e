"""Zeros of every layer by measurement: error curves, sensitivities, trials of the network.

Every layer's error against its zeros is known from one exact elimination on the dense network's
inputs, and what the network's outputs make of that error from pruning this layer alone. Sums of
the first, weighted by powers of the second, give allocations between "equal slope of the layers'
own errors" and "equal slope of the outputs' error"; which is best depends on how much of an error
later layers repair, which nothing but a trial tells. So all are tried, with ``uniform`` and
``erk``, and the best goes on: it is never worse than these on the samples that score.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnx_lobs.allocation.rules import RULES, Slot, allocate, to_counts
from onnx_lobs.allocation.share import Loss, rescale, share
from onnx_lobs.calibration.independent import columns_per_sample, make_groups
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layerwise import loss_curve
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.pattern import NM
from onnx_lobs.phases import Progress
from onnx_lobs.report.record import AllocationRecord
from onnx_lobs.schedule import is_staged
from onnx_lobs.solvers import METHODS
from onnx_lobs.steps import make_task
from onnx_lobs.trials import Trials, layer_moments, samples_needed
from onnx_lobs.workspace import Workspace, by_key, layer_key, make_slots, wanted_sparsity

Array = NDArray[np.float64]

# points of a curve: even ones, and closer ones towards the end, where errors change fastest
SHARES = np.unique(np.concatenate([np.linspace(0, 1, 33), 1 - 2.0 ** -np.arange(1, 11, 0.125)]))
CURVE_FLOPS = 2e10  # of the elimination of one layer; more rows than that are not looked at
LEAST_ROWS = 8
MOST_SHARE = 0.9  # zeros at which sensitivities are measured: beyond, errors no longer add up
# (power of the sensitivity, power of the error)
MIXTURES = ((0.0, 1.0), (0.25, 1.0), (0.5, 1.0), (1.0, 1.0), (0.5, 0.5))
STEPS = {"fast": 0, "default": 6, "best": 24}
SPREAD = 0.25  # of the logarithm of what a layer keeps, in a random step
CHANGED = 0.3  # share of the layers that a random step changes


@dataclass(frozen=True)
class Measured:
    """What was measured of the layers, in their order.

    ``losses`` are relative errors at SHARES, (points,) each; ``sensitivity`` is the output's
    relative error over the layer's own, per layer; ``columns`` of data per sample.
    """

    slots: tuple[Slot, ...]
    losses: tuple[Array, ...]
    sensitivity: Array
    columns: Array


def plan_budgets(work: Workspace, scratch: Scratch, progress: Progress) -> AllocationRecord | None:
    """Measure the layers, choose their zeros, and put them into `work.budgets`.

    Returns
    -------
    AllocationRecord or None
        How the choice was made; None where there is none to make: the options name a rule, the
        pattern has its own count, or only one layer is free.
    """
    started = time.perf_counter()
    slots = make_slots(work.layers, work.config)
    free = sum(slot.fixed is None for slot in slots)
    asks = work.config.allocation not in RULES or work.config.budget != "weights"
    asks &= work.config.allocation != "auto" or METHODS[work.config.method].wants_sequential
    if not asks or isinstance(work.pattern, NM) or free < 2:
        return None
    if is_staged(work):
        work.warnings.append(_too_large(work))
        return None
    columns = _columns(work)
    slots = [with_unit(work, *pair) for pair in zip(work.layers, slots, columns, strict=True)]
    if work.config.allocation in RULES:
        work.budgets = _by_rule(work, slots, work.config.allocation)
        return None
    needed = samples_needed(work, by_layer(work.layers, columns))
    trials = Trials(work, needed, scratch)
    progress.start("measuring layers", len(work.layers))
    measured = _measure(work, slots, columns, trials, scratch, progress)
    if work.config.allocation == "global":
        zeros = _mixture(work, measured, np.log(measured.sensitivity), 1.0)
        name, tried = "global", dict[str, float]()
    else:
        name, zeros, tried = _search(work, measured, trials, progress)
    work.budgets = zeros
    seconds = time.perf_counter() - started
    sensitivity = by_layer(work.layers, measured.sensitivity)
    return AllocationRecord(name, work.config.budget, tried, sensitivity, trials.n_run, seconds)


def by_layer(layers: Sequence[Layer], values: Array) -> dict[str, float]:
    """Return values by the key of their layer."""
    return {layer_key(layer): float(x) for layer, x in zip(layers, values, strict=True)}


def _too_large(work: Workspace) -> str:
    return (
        f"allocation {work.config.allocation!r} and budgets other than weights need the whole "
        "model in one session, but its weights exceed their share of --memory: zeros were shared "
        "by a rule; give more --memory, or choose --allocation uniform or erk"
    )


def _columns(work: Workspace) -> Array:
    """Return the columns of data that a sample gives each layer."""
    feeds = next(iter(work.batches))
    groups = make_groups(work.layers)
    found = columns_per_sample(work.dense, groups, feeds, work.batches.sizes[0], work.provider)
    known = {
        layer_key(layer): value
        for group, value in zip(groups, found, strict=True)
        for layer in group.layers
    }
    return np.array([known[layer_key(layer)] for layer in work.layers])


def with_unit(work: Workspace, layer: Layer, slot: Slot, columns: float) -> Slot:
    """Return the slot with what one of its weights costs."""
    unit = 1.0
    if work.config.budget == "bytes":
        # a sparse tensor stores an index of at least a byte beside each value
        unit = layer.dtype.itemsize + (1.0 if work.config.storage == "sparse" else 0.0)
    elif work.config.budget == "macs":
        unit = max(columns, 1e-9)
    return dataclasses.replace(slot, unit=unit)


def _by_rule(work: Workspace, slots: Sequence[Slot], rule: str) -> dict[str, int]:
    sparsity = wanted_sparsity(work.config, work.pattern)
    return by_key(work.layers, allocate(slots, sparsity, rule, work.pattern))


def _measure(
    work: Workspace,
    slots: Sequence[Slot],
    columns: Array,
    trials: Trials,
    scratch: Scratch,
    progress: Progress,
) -> Measured:
    """Return curves and sensitivities, on the dense network's inputs of the trials' samples."""
    config = dataclasses.replace(trials.work.config, sequential=False)
    dense = dataclasses.replace(trials.work, config=config, warnings=[], skips=[])
    level = min(wanted_sparsity(work.config, work.pattern), MOST_SHARE)
    level = level if level > 0 else 0.5
    losses: dict[str, Array] = {}
    sensitivity: dict[str, float] = {}
    for layer, calibration in layer_moments(dense, scratch):
        key = layer_key(layer)
        task = make_task(dense, layer, calibration)
        groups, rows, d = task.weight.shape
        most = int(np.clip(CURVE_FLOPS / (groups * d**3), LEAST_ROWS, max(rows, LEAST_ROWS)))
        losses[key] = loss_curve(task, SHARES, most)
        n_prune = task.pattern.closest((groups, rows, d), level, task.taps)
        own, whole = trials.error_of_one(layer, dataclasses.replace(task, n_prune=n_prune))
        sensitivity[key] = whole / own if own > 0 else 0.0
        progress.advance()
    unseen = np.zeros(len(SHARES))  # no data reach it, so its zeros cost nothing
    keys = [layer_key(layer) for layer in work.layers]
    found = np.array([sensitivity.get(key, 0.0) for key in keys])
    return Measured(
        tuple(slots), tuple(losses.get(key, unseen) for key in keys), _floor(found), columns
    )


def _floor(sensitivity: Array) -> Array:
    """Return sensitivities of which none is below a thousandth of the largest, nor zero."""
    top = float(sensitivity.max(initial=0.0))
    return np.maximum(sensitivity, top / 1000 if top > 0 else 1.0)


def _mixture(
    work: Workspace, measured: Measured, log_weight: Array, power: float
) -> dict[str, int]:
    """Return the zeros with the least sum of ``weight * error ** power``."""
    slots = measured.slots
    free = [i for i, slot in enumerate(slots) if slot.fixed is None]
    losses = [
        Loss(
            SHARES * slots[i].size,
            np.exp(log_weight[i]) * measured.losses[i] ** power,
            slots[i].unit,
        )
        for i in free
    ]
    total = sum(slots[i].size * slots[i].unit for i in free)
    wanted = np.array([slot.size * (slot.fixed or 0.0) for slot in slots])
    wanted[free] = share(losses, wanted_sparsity(work.config, work.pattern) * total)
    return by_key(work.layers, to_counts(slots, wanted, work.pattern))


def _search(
    work: Workspace, measured: Measured, trials: Trials, progress: Progress
) -> tuple[str, dict[str, int], dict[str, float]]:
    """Try every candidate, then random changes of the best; return its name and zeros, and errors.

    A step multiplies what some layers keep by random factors, scales all to the budget again, and
    stays if the network's error falls.
    """
    steps = STEPS[work.config.effort]
    progress.start("trying allocations", len(RULES) + len(MIXTURES) + steps)
    tried: dict[str, float] = {}
    name, zeros = "", dict[str, int]()
    for other, candidate in _candidates(work, measured):
        tried[other] = trials.error(candidate)
        if tried[other] == min(tried.values()):
            name, zeros = other, candidate
        progress.advance()
    rng = np.random.default_rng(work.config.seed)
    start = name
    for step in range(steps):
        candidate = _moved(work, measured, zeros, rng)
        error = trials.error(candidate)
        if error < min(tried.values()):
            name, zeros = f"{start}, step {step + 1}", candidate
            tried[name] = error
        progress.advance()
    return name, zeros, tried


def _candidates(work: Workspace, measured: Measured) -> Iterator[tuple[str, dict[str, int]]]:
    for rule in RULES:
        yield rule, _by_rule(work, measured.slots, rule)
    logs = np.log(measured.sensitivity)
    for q, p in MIXTURES:
        yield f"sensitivity^{q:g} error^{p:g}", _mixture(work, measured, q * logs, p)


def _moved(
    work: Workspace, measured: Measured, zeros: Mapping[str, int], rng: np.random.Generator
) -> dict[str, int]:
    """Return the zeros after a random step at the same cost."""
    slots = measured.slots
    free = [i for i, slot in enumerate(slots) if slot.fixed is None]
    sizes = np.array([slots[i].size for i in free], dtype=np.float64)
    units = np.array([slots[i].unit for i in free])
    now = np.array([zeros[layer_key(layer)] for layer in work.layers], dtype=np.float64)
    count = max(1, round(CHANGED * len(free)))
    factor = np.ones(len(free))
    factor[rng.choice(len(free), size=count, replace=False)] = np.exp(
        SPREAD * rng.standard_normal(count)
    )
    left = (1 - wanted_sparsity(work.config, work.pattern)) * float(sizes @ units)
    kept = rescale(np.maximum(sizes - now[free], 1.0) * factor, sizes, units, left)
    now[free] = sizes - kept
    return by_key(work.layers, to_counts(slots, now, work.pattern))
