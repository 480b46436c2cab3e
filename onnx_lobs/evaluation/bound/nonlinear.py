"""Rules whose gains depend on figures of both networks: products, quotients, normalisations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx

from onnx_lobs.evaluation.bound.site import BoundSite, Figures, Step, number, total
from onnx_lobs.graph.model import attributes


def multiply(site: BoundSite) -> Step | str:
    """Bound x'y' - xy = (x' - x) y' + x (y' - y), or with dense and pruned changed about."""
    names = [site.both(i) for i in (0, 1)]
    keys = [
        [
            site.spread(site.wide(name), site.input_shape(1 - i), site.input_shape(i))
            for name in other
        ]
        for i, other in ((0, names[1]), (1, names[0]))
    ]  # gains of input 0 are made of input 1, and the other way round
    return _better(keys[0], keys[1])


def divide(site: BoundSite) -> Step | str:
    """Bound x'/y' - x/y = (x' - x)/y' - (x/y)(y' - y)/y', or with dense and pruned changed."""
    if normalised := _by_deviation(site):
        return normalised
    dense, pruned = ([site.wide(site.both(i)[k]) for i in (0, 1)] for k in (0, 1))
    x, y = site.input_shape(0), site.input_shape(1)
    of_x = [site.spread(site.make("Reciprocal", side[1]), y, x) for side in (dense, pruned)]
    of_y = []
    for own, other in ((dense, pruned), (pruned, dense)):
        mixed = site.make("Div", site.make("Div", *own), other[1])
        of_y.append(site.spread(mixed, site.shape, y))
    return _better(of_x, of_y)


def _better(first: Sequence[str], second: Sequence[str]) -> Step:
    """Return the smaller of two sums, of gains (dense, pruned) of either input.

    Both hold: the pruned gain of one goes with the dense one of the other.
    """

    def step(figures: Figures, errors: Sequence[float]) -> float:
        a, b = ([number(figures, key) for key in keys] for keys in (first, second))
        e, f = errors[:2]
        return min(_two(e, a[1], f, b[0]), _two(e, a[0], f, b[1]))

    return step


def _two(e: float, gain_e: float, f: float, gain_f: float) -> float:
    return (e * gain_e if e else 0.0) + (f * gain_f if f else 0.0)


def subtract(site: BoundSite) -> Step | str:
    """Bound x - y; of x - mean(x), a projection, the gain is 1."""
    mean = _producer(site, site.node.input[1])
    if (
        mean is not None
        and _is_mean_in_place(mean)
        and mean.input[0] == site.node.input[0]
        and site.shape == site.input_shape(0)
    ):
        return total(1.0, 0.0)
    return total(*(math.sqrt(site.repeats(i)) for i in (0, 1)))


def _by_deviation(site: BoundSite) -> Step | None:
    """Bound u / sqrt(mean(u²) + e) where it is written in such nodes, as :func:`normalise` does."""
    if site.input_shape(0) != site.shape:
        return None
    u, deviation = site.node.input
    squares = _squares_of(site, deviation)
    if squares != u:
        return None
    pair = [site.wide(name) for name in site.both(1)]
    return _over_deviations(site, pair[0], pair[1], 1.0)


def _squares_of(site: BoundSite, deviation: str) -> str | None:
    """Return u where `deviation` is sqrt(mean(u²) + e) with a constant e >= 0."""
    last = _producer(site, deviation)
    if last is None or last.op_type != "Sqrt":
        return None
    inner = _producer(site, last.input[0])
    if inner is not None and inner.op_type == "Add":
        fixed = [name for name in inner.input if name in site.pair.constants]
        moving = [name for name in inner.input if name not in site.pair.constants]
        if len(fixed) != 1 or float(np.min(site.pair.value(fixed[0]))) < 0:
            return None
        inner = _producer(site, moving[0])
    if inner is None or not _is_mean_in_place(inner):
        return None
    square = _producer(site, inner.input[0])
    if square is None:
        return None
    if square.op_type == "Mul" and square.input[0] == square.input[1]:
        return str(square.input[0])
    if square.op_type == "Pow" and square.input[1] in site.pair.constants:
        exponent = site.pair.value(square.input[1])
        return str(square.input[0]) if exponent.size == 1 and exponent.item() == 2 else None
    return None


def _is_mean_in_place(node: onnx.NodeProto) -> bool:
    """Whether a node gives means that broadcast to where they were taken."""
    return node.op_type == "ReduceMean" and attributes(node).get("keepdims", 1) == 1


def _producer(site: BoundSite, name: str) -> onnx.NodeProto | None:
    node = site.pair.dense.main.producers.get(name)
    return node if node is not None and name not in site.pair.constants else None


def normalise(site: BoundSite) -> Step | str:
    """Bound LayerNormalization, RMSNormalization and InstanceNormalization.

    With s = sqrt(mean(u²) + e) for the (centred) u of n elements, (u, sqrt(n e)) / s is a vector
    of length sqrt(n), and |a'/|a'| - a/|a|| <= |a' - a| / sqrt(|a||a'|) for any two vectors; so
    the gain is at most largest weight / sqrt(s s'). Centring is a projection.
    """
    if any(site.moves(i) for i in (1, 2)):
        return f"{site.node.op_type} with a weight that the network computes has no rule"
    weight = site.constant(1)
    if weight is None:
        return f"{site.node.op_type} with a weight that is no constant has no rule"
    rank = len(site.shape)
    op = site.node.op_type
    first = 2 if op == "InstanceNormalization" else site.attribute("axis", -1) % rank
    axes = tuple(range(first, rank))
    centred = op != "RMSNormalization"
    dense, pruned = (_deviation(site, name, axes, centred) for name in site.both(0))
    return _over_deviations(
        site, dense, pruned, float(np.abs(weight.astype(np.float64)).max(initial=0.0))
    )


def _deviation(site: BoundSite, name: str, axes: tuple[int, ...], centred: bool) -> str:
    write = site.write
    value = site.wide(name)
    if centred:
        value = site.make("Sub", value, write.reduce("ReduceMean", value, *axes))
    variance = write.reduce("ReduceMean", site.make("Mul", value, value), *axes)
    epsilon = write.constant(np.array(site.attribute("epsilon", 1e-5), np.float32))
    return site.make("Sqrt", site.make("Add", variance, epsilon))


def _over_deviations(site: BoundSite, dense: str, pruned: str, weight: float) -> Step:
    key = site.smallest(site.make("Mul", dense, pruned))

    def step(figures: Figures, errors: Sequence[float]) -> float:
        smallest = number(figures, key)
        if not errors[0]:
            return 0.0
        return math.inf if smallest <= 0 else errors[0] * weight / math.sqrt(smallest)

    return step


def root(site: BoundSite) -> Step | str:
    """Bound sqrt(x') - sqrt(x) = (x' - x) / (sqrt(x') + sqrt(x))."""
    roots = [site.make("Sqrt", site.wide(name)) for name in site.both(0)]
    return _over(site.smallest(site.make("Add", *roots)))


def reciprocal(site: BoundSite) -> Step | str:
    """Bound 1/x' - 1/x = (x - x') / (x x')."""
    dense, pruned = (site.wide(name) for name in site.both(0))
    return _over(site.smallest(site.make("Abs", site.make("Mul", dense, pruned))))


def exponential(site: BoundSite) -> Step | str:
    """Bound e^x' - e^x by the larger of the two, which is the largest slope between."""
    pair = [site.make("Exp", site.wide(name)) for name in site.both(0)]
    return _times(site.largest(site.make("Max", *pair)))


def log(site: BoundSite) -> Step | str:
    """Bound log x' - log x by the slope at the smaller of the two."""
    return _over(site.smallest(site.make("Min", *(site.wide(name) for name in site.both(0)))))


def power(site: BoundSite) -> Step | str:
    """Bound x^p for one constant p, by the slope at the larger or the smaller |x|.

    Below p = 1 the base must be positive in both networks.
    """
    exponent = site.constant(1)
    if exponent is None or exponent.size != 1:
        return "Pow with an exponent that is not one constant has no rule"
    p = float(exponent.item())
    wide = [site.wide(name) for name in site.both(0)]
    if p >= 1:
        key = site.largest(site.make("Max", *(site.make("Abs", value) for value in wide)))
        return lambda figures, errors: errors[0] * p * number(figures, key) ** (p - 1)
    key = site.smallest(site.make("Min", *wide))

    def step(figures: Figures, errors: Sequence[float]) -> float:
        least = number(figures, key)
        return errors[0] * abs(p) * least ** (p - 1) if least > 0 else math.inf

    return step


def _times(key: str) -> Step:
    return lambda figures, errors: errors[0] * number(figures, key)


def _over(key: str) -> Step:
    def step(figures: Figures, errors: Sequence[float]) -> float:
        least = number(figures, key)
        return errors[0] / least if least > 0 else math.inf

    return step
