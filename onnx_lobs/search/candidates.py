"""Makes allocations worth a trial: by rules, by measured losses, by random steps from another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from onnx_lobs.allocation.rules import ROUNDING, RULES, Slot, keep, limits, to_counts
from onnx_lobs.allocation.share import Loss, share
from onnx_lobs.arrays import FloatArray
from onnx_lobs.run.slots import layer_key
from onnx_lobs.run.zeros import Zeros, by_key, by_rule
from onnx_lobs.search.measure import SHARES, MeasuredLayers

# (power of the sensitivity, power of the error) in the sum of losses
MIXTURES = {
    "error": (0.0, 1.0),
    "error x sensitivity^1/4": (0.25, 1.0),
    "error x sensitivity": (1.0, 1.0),
    "root of error x sensitivity": (0.5, 0.5),
}
GLOBAL = "error x sensitivity"
SPARED = "uniform, depthwise dense"
POWERS = (0.0, 0.25, 0.5, 1.0)  # of the sensitivities, by which allocations are compared untried
WORSE = 1.5  # times the error of another: trials turned the order of less than that
# by how often they won the trials of the bench models
LIKELIEST = (
    "error x sensitivity^1/4",
    "error x sensitivity",
    "error",
    "root of error x sensitivity",
    "erk",
    SPARED,
    "uniform",
)
SPREAD = 0.25  # of the logarithm of what a layer keeps, in a random step
CHANGED = 0.3  # share of the layers that a random step changes


def candidates(measured: MeasuredLayers, sparsity: float) -> Iterator[tuple[str, Zeros]]:
    """Yield every allocation by name, with the zeros of each layer."""
    for name in names(measured, sparsity):
        yield name, candidate(measured, sparsity, name)


def names(measured: MeasuredLayers, sparsity: float) -> list[str]:
    """Return the names of the allocations that there are at a sparsity."""
    simple = plain_name(measured, sparsity)
    return [*RULES, *([] if simple in RULES else [simple]), *MIXTURES]


def worth_trying(measured: MeasuredLayers, sparsity: float) -> list[str]:
    """Return the names of the allocations that may win, the likeliest first, and the plain one.

    Left out is what another one beats by WORSE in the sum of the layers' errors, whichever power
    of their sensitivities weights it: what later layers repair is between none of an error and all
    that the sensitivity does not tell.
    """
    each = names(measured, sparsity)
    sums = {name: _weighted_sums(measured, candidate(measured, sparsity, name)) for name in each}
    plain = plain_name(measured, sparsity)
    wins = [
        name
        for name in each
        if name == plain or not any((WORSE * other <= sums[name]).all() for other in sums.values())
    ]
    return sorted(wins, key=LIKELIEST.index)


def _weighted_sums(measured: MeasuredLayers, zeros: Zeros) -> FloatArray:
    """Return the sum of the layers' errors for each of POWERS of their sensitivities."""
    layers = zip(measured.layers, measured.slots, measured.losses, strict=True)
    errors = np.array(
        [
            np.interp(zeros[layer_key(layer)] / slot.size, SHARES, loss)
            for layer, slot, loss in layers
        ]
    )
    return np.array([errors @ measured.sensitivity**power for power in POWERS])


def plain_name(measured: MeasuredLayers, sparsity: float) -> str:
    """Return the allocation that nothing is measured for: what ``uniform`` does in a run by rule.

    It leaves depthwise convolutions dense, if there are any and the others can have all zeros.
    """
    if not any(layer.is_depthwise for layer in measured.layers):
        return "uniform"
    return SPARED if sparsity <= limits(_spared(measured))[1] + ROUNDING else "uniform"


def _spared(measured: MeasuredLayers) -> list[Slot]:
    """Return the slots, of depthwise convolutions with the least zeros that they may have."""
    return [
        dataclasses.replace(slot, most=slot.lowest) if layer.is_depthwise else slot
        for layer, slot in zip(measured.layers, measured.slots, strict=True)
    ]


def candidate(measured: MeasuredLayers, sparsity: float, name: str) -> Zeros:
    """Return the zeros of each layer by a rule or mixture."""
    if name in MIXTURES:
        q, p = MIXTURES[name]
        return _mixture(measured, sparsity, q * np.log(measured.sensitivity), p)
    slots = _spared(measured) if name == SPARED else measured.slots
    rule = "uniform" if name == SPARED else name
    return by_rule(measured.layers, slots, sparsity, rule, measured.pattern)


def _mixture(
    measured: MeasuredLayers, sparsity: float, log_weight: FloatArray, power: float
) -> Zeros:
    """Return the zeros with the least sum of ``weight * error ** power``."""
    slots = measured.slots
    free = _free(measured)
    losses = [_loss(slots[i], np.exp(log_weight[i]) * measured.losses[i] ** power) for i in free]
    saving = sum(slots[i].size * slots[i].price for i in free)
    saving *= sparsity
    at_least = np.array([slots[i].size * slots[i].lowest for i in free])
    saving -= float(at_least @ [slots[i].price for i in free])
    wanted = np.array([slot.own_zeros for slot in slots], dtype=np.float64)
    wanted[free] = at_least + share(losses, max(saving, 0.0))
    return _counted(measured, wanted)


def _loss(slot: Slot, values: FloatArray) -> Loss:
    """Return the loss of the zeros beyond the least that the layer has to have, to the most."""
    inside = SHARES[(slot.lowest < SHARES) & (slot.highest > SHARES)]
    shares = np.unique(np.concatenate([[slot.lowest], inside, [slot.highest]]))
    losses = np.interp(shares, SHARES, values)
    return Loss((shares - slot.lowest) * slot.size, losses, slot.price)


def between(measured: MeasuredLayers, sparsity: float, one: Zeros, other: Zeros) -> Zeros:
    """Return zeros half-way between two allocations of the same cost.

    A layer keeps the geometric mean of what it keeps in both, scaled to the same cost.
    """
    kept = np.sqrt(_kept(measured, one) * _kept(measured, other))
    return _scaled(measured, sparsity, one, kept)


def moved(
    measured: MeasuredLayers, sparsity: float, zeros: Zeros, rng: np.random.Generator
) -> Zeros:
    """Return the zeros after a random step at the same cost."""
    free = _free(measured)
    count = max(1, round(CHANGED * len(free)))
    factors = np.exp(SPREAD * rng.standard_normal(count))
    kept = _kept(measured, zeros)
    kept[np.array(free)[rng.choice(len(free), size=count, replace=False)]] *= factors
    return _scaled(measured, sparsity, zeros, kept)


def _free(measured: MeasuredLayers) -> list[int]:
    """Return the indices of the layers without a sparsity of their own."""
    return [i for i, slot in enumerate(measured.slots) if slot.fixed is None]


def _kept(measured: MeasuredLayers, zeros: Zeros) -> FloatArray:
    """Return the weights that each layer keeps, at least one, so that it can grow again."""
    sizes = np.array([slot.size for slot in measured.slots], dtype=np.float64)
    return np.maximum(sizes - [zeros[layer_key(layer)] for layer in measured.layers], 1.0)


def _scaled(measured: MeasuredLayers, sparsity: float, zeros: Zeros, kept: FloatArray) -> Zeros:
    """Return the zeros where free layers keep weights in these proportions, others as before."""
    free = _free(measured)
    slots = [measured.slots[i] for i in free]
    now = np.array([zeros[layer_key(layer)] for layer in measured.layers], dtype=np.float64)
    now[free] = [slot.size for slot in slots] - keep(slots, kept[free], sparsity)
    return _counted(measured, now)


def _counted(measured: MeasuredLayers, wanted: FloatArray) -> Zeros:
    """Return whole numbers of zeros that the pattern can hold, near those wanted."""
    return by_key(measured.layers, to_counts(measured.slots, wanted, measured.pattern))
