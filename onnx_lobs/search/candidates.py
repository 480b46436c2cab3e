"""Makes allocations worth a trial: by rules, by measured losses, by random steps from another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from onnx_lobs.allocation.rules import ROUNDING, RULES, Slot, allocate, keep, limits, to_counts
from onnx_lobs.allocation.share import Loss, share
from onnx_lobs.arrays import FloatArray
from onnx_lobs.layers.layer import Layer
from onnx_lobs.run.slots import by_key, layer_key, wanted_sparsity
from onnx_lobs.run.workspace import Workspace
from onnx_lobs.search.measure import SHARES, MeasuredLayers
from onnx_lobs.storage.formats import FORMATS

# (power of the sensitivity, power of the error) in the sum of losses
MIXTURES = {
    "error": (0.0, 1.0),
    "error x sensitivity^1/4": (0.25, 1.0),
    "error x sensitivity": (1.0, 1.0),
    "root of error x sensitivity": (0.5, 0.5),
}
GLOBAL = "error x sensitivity"
SPARED = "uniform, depthwise dense"
SPREAD = 0.25  # of the logarithm of what a layer keeps, in a random step
CHANGED = 0.3  # share of the layers that a random step changes


def with_price(work: Workspace, layer: Layer, slot: Slot, columns: float) -> Slot:
    """Return the slot with what one of its weights costs."""
    price = 1.0
    if work.config.budget == "bytes":
        price = FORMATS[work.config.storage].price(layer.dtype.itemsize)
    elif work.config.budget == "macs":
        price = max(columns, 1e-9)
    return dataclasses.replace(slot, price=price)


def candidates(work: Workspace, measured: MeasuredLayers) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield every allocation by name, with the zeros of each layer."""
    for name in names(work, measured):
        yield name, candidate(work, measured, name)


def names(work: Workspace, measured: MeasuredLayers) -> list[str]:
    """Return the names of the allocations that there are at the sparsity of the run."""
    simple = plain_name(work, measured)
    return [*RULES, *([] if simple in RULES else [simple]), *MIXTURES]


def plain_name(work: Workspace, measured: MeasuredLayers) -> str:
    """Return the allocation that nothing is measured for: what ``uniform`` does in a run by rule.

    It leaves depthwise convolutions dense, if there are any and the others can have all zeros.
    """
    if not any(layer.is_depthwise for layer in work.layers):
        return "uniform"
    most = limits(_spared(work, measured))[1] + ROUNDING
    return SPARED if wanted_sparsity(work.config, work.pattern) <= most else "uniform"


def _spared(work: Workspace, measured: MeasuredLayers) -> list[Slot]:
    """Return the slots, of depthwise convolutions with the least zeros that they may have."""
    return [
        dataclasses.replace(slot, most=slot.least) if layer.is_depthwise else slot
        for layer, slot in zip(work.layers, measured.slots, strict=True)
    ]


def candidate(work: Workspace, measured: MeasuredLayers, name: str) -> dict[str, int]:
    """Return the zeros of each layer by a rule or mixture, at the sparsity of the run."""
    if name in RULES:
        return by_rule(work, measured.slots, name)
    if name == SPARED:
        return by_rule(work, _spared(work, measured), "uniform")
    q, p = MIXTURES[name]
    return _mixture(work, measured, q * np.log(measured.sensitivity), p)


def by_rule(work: Workspace, slots: Sequence[Slot], rule: str) -> dict[str, int]:
    """Return the zeros of each layer by a rule that looks at shapes only."""
    sparsity = wanted_sparsity(work.config, work.pattern)
    return by_key(work.layers, allocate(slots, sparsity, rule, work.pattern))


def _mixture(
    work: Workspace, measured: MeasuredLayers, log_weight: FloatArray, power: float
) -> dict[str, int]:
    """Return the zeros with the least sum of ``weight * error ** power``."""
    slots = measured.slots
    free = [i for i, slot in enumerate(slots) if slot.fixed is None]
    losses = [_loss(slots[i], np.exp(log_weight[i]) * measured.losses[i] ** power) for i in free]
    saving = sum(slots[i].size * slots[i].price for i in free)
    saving *= wanted_sparsity(work.config, work.pattern)
    at_least = np.array([slots[i].size * slots[i].least for i in free])
    saving -= float(at_least @ [slots[i].price for i in free])
    wanted = np.array([slot.size * (slot.fixed or 0.0) for slot in slots])
    wanted[free] = at_least + share(losses, max(saving, 0.0))
    return by_key(work.layers, to_counts(slots, wanted, work.pattern))


def _loss(slot: Slot, values: FloatArray) -> Loss:
    """Return the loss of the zeros beyond the least that the layer has to have, to the most."""
    inside = SHARES[(slot.least < SHARES) & (slot.most > SHARES)]
    shares = np.unique(np.concatenate([[slot.least], inside, [slot.most]]))
    losses = np.interp(shares, SHARES, values)
    return Loss((shares - slot.least) * slot.size, losses, slot.price)


def between(
    work: Workspace, measured: MeasuredLayers, one: Mapping[str, int], other: Mapping[str, int]
) -> dict[str, int]:
    """Return zeros half-way between two allocations of the same cost.

    A layer keeps the geometric mean of what it keeps in both, scaled to the same cost.
    """
    kept = np.sqrt(_kept(work, measured, one) * _kept(work, measured, other))
    return _scaled(work, measured, one, kept)


def moved(
    work: Workspace, measured: MeasuredLayers, zeros: Mapping[str, int], rng: np.random.Generator
) -> dict[str, int]:
    """Return the zeros after a random step at the same cost."""
    free = _free(measured)
    count = max(1, round(CHANGED * len(free)))
    factors = np.exp(SPREAD * rng.standard_normal(count))
    kept = _kept(work, measured, zeros)
    kept[np.array(free)[rng.choice(len(free), size=count, replace=False)]] *= factors
    return _scaled(work, measured, zeros, kept)


def _free(measured: MeasuredLayers) -> list[int]:
    """Return the indices of the layers without a sparsity of their own."""
    return [i for i, slot in enumerate(measured.slots) if slot.fixed is None]


def _kept(work: Workspace, measured: MeasuredLayers, zeros: Mapping[str, int]) -> FloatArray:
    """Return the weights that each layer keeps, at least one, so that it can grow again."""
    sizes = np.array([slot.size for slot in measured.slots], dtype=np.float64)
    return np.maximum(sizes - [zeros[layer_key(layer)] for layer in work.layers], 1.0)


def _scaled(
    work: Workspace, measured: MeasuredLayers, zeros: Mapping[str, int], kept: FloatArray
) -> dict[str, int]:
    """Return the zeros where free layers keep weights in these proportions, others as before."""
    free = _free(measured)
    slots = [measured.slots[i] for i in free]
    now = np.array([zeros[layer_key(layer)] for layer in work.layers], dtype=np.float64)
    sparsity = wanted_sparsity(work.config, work.pattern)
    now[free] = [slot.size for slot in slots] - keep(slots, kept[free], sparsity)
    return by_key(work.layers, to_counts(measured.slots, now, work.pattern))
