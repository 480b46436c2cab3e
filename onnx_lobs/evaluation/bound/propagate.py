"""The bound of the output error: layer errors carried along the graph by operator norms.

Dong, Chen and Pan (2017) bound the output error of a chain of layers by the sum of the layers'
errors, each times the norms of the layers behind it. Here this is done for any graph: every
value has a bound e of the Euclidean distance between the pruned and the dense network over the
samples of a batch, and for y = f(x) with constants c (pruned: c')

    e(y) <= gain of f(.; c') * e(x) + |f(x; c') - f(x; c)|,   x of the dense network,

where the last term is the layer's own error, exact, of its weights and biases together. A sum
of branches adds their errors, a concatenation the squares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import onnx

from onnx_lobs.arrays import Feeds
from onnx_lobs.evaluation.bound.pair import Pair
from onnx_lobs.evaluation.bound.site import Figures, number
from onnx_lobs.evaluation.bound.twin import Shapes, Twin, make_twin
from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model
from onnx_lobs.graph.run.session import Session

KEPT_TWINS = 2  # one per shape of the inputs, each with the weights of both networks


@dataclass(frozen=True)
class OutputBound:
    """How far one output of the pruned network can be, and is, from the dense one's.

    Parameters
    ----------
    output
        Its name.
    bound
        Upper bound of the sum of squared changes over the batches that were run, over the sum
        of squares; None where there is none, or it is too large for a float.
    measured
        The same of the outputs themselves; None where the twin network does not make them.
    layers
        What `bound` would be if only this layer had an error of its own, largest first.
    missing
        Why there is no bound.
    """

    output: str
    bound: float | None
    measured: float | None
    layers: Mapping[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


@dataclass
class _Sums:
    """Sums of squares over the batches for one output."""

    bound: float = 0.0
    change: float = 0.0
    energy: float = 0.0
    layers: dict[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def bound_outputs(
    dense: Model,
    pruned: Model,
    batches: Iterable[Feeds],
    *,
    provider: str,
    tick: Callable[[int], None] = lambda n: None,
) -> tuple[OutputBound, ...]:
    """Return a bound of the error of every floating output that pruning can change.

    Parameters
    ----------
    dense, pruned
        Execution copies with the same nodes. Not modified.
    batches
        The inputs that the bound is for; it says nothing about others.
    provider
        Full name of an execution provider.
    tick
        Told of every batch.

    Returns
    -------
    tuple of OutputBound
        Up to the rounding of the networks' own arithmetic, ``bound >= measured``.

    Raises
    ------
    ModelError
        When onnxruntime cannot load both networks at once.
    InferenceError
        When it cannot run them on the data.

    Notes
    -----
    Cost: about three forward passes (dense, pruned, and every pruned layer on dense inputs),
    once the norms of the layers are known: rows² columns per matrix, and up to 144 times that
    per convolution. Memory: both networks and their activations of one batch.
    """
    pair = Pair(dense, pruned)
    if not pair.perturbed:
        return ()
    twins: dict[tuple[tuple[str, tuple[int, ...]], ...], Twin] = {}
    sums: dict[str, _Sums] = {}
    for feeds in batches:
        key = tuple((name, feeds[name].shape) for name in sorted(feeds))
        if key not in twins:
            while len(twins) >= KEPT_TWINS:
                twins.pop(next(iter(twins)))
            twins[key] = make_twin(pair, _shapes(pair, feeds, provider), provider)
        if twins[key].gaps:
            _add_batch(twins[key], twins[key].session.run(feeds), sums)
        tick(1)
    return tuple(_result(name, found) for name, found in sums.items())


def _shapes(pair: Pair, feeds: Feeds, provider: str) -> Shapes:
    """Run the dense network once for the shapes of all values near those that differ."""
    names = {
        name
        for node in pair.dense.main.graph.node
        if pair.perturbed.intersection(node.output)
        for name in (*node.input, *node.output)
        if name and not _is_no_tensor(pair, name)
    }
    graph = onnx.GraphProto()
    graph.CopyFrom(pair.dense.main.graph)
    del graph.output[:]
    shown = {}
    for i, name in enumerate(sorted(names)):
        shown[name] = f"shape__{i}"
        graph.node.append(onnx.helper.make_node("Shape", [name], [shown[name]]))
        graph.output.append(
            onnx.helper.make_tensor_value_info(shown[name], onnx.TensorProto.INT64, [None])
        )
    proto = onnx.ModelProto(ir_version=pair.dense.proto.ir_version, graph=graph)
    proto.opset_import.extend(pair.dense.proto.opset_import)
    proto.functions.extend(pair.dense.proto.functions)
    found = Session(proto, folder=pair.dense.folder, provider=provider).run(feeds)
    return {name: tuple(found[key].tolist()) for name, key in shown.items()}


def _is_no_tensor(pair: Pair, name: str) -> bool:
    node = pair.dense.main.producers.get(name)
    if node is None:
        return False
    makes_sequences = node.op_type.startswith(("Sequence", "SplitTo", "Optional", "ConcatFrom"))
    return makes_sequences or node.domain not in DEFAULT_DOMAINS


def _add_batch(twin: Twin, values: Figures, sums: dict[str, _Sums]) -> None:
    """Add one batch's squares to those of every output."""
    errors, missing = _propagate(twin, values, None)
    layers = [place for place in twin.places if place.own is not None]
    alone = {p.label: _propagate(twin, values, p.own)[0] for p in layers}
    for gap in twin.gaps:
        found = sums.setdefault(gap.output, _Sums())
        # a length of infinity makes the sums no number, which the result does not show
        found.change += math.inf if gap.change is None else number(values, gap.change) ** 2
        found.energy += number(values, gap.energy) ** 2
        found.bound += _square(errors.get(gap.output, math.inf))
        found.missing = missing.get(gap.output, ())
        for label, single in alone.items():
            before = found.layers.get(label, 0.0)
            found.layers[label] = before + _square(single.get(gap.output, math.inf))


def _propagate(
    twin: Twin, values: Figures, only: str | None
) -> tuple[dict[str, float], dict[str, tuple[str, ...]]]:
    """Return the bound of every value, and for those without one the reasons.

    `only` is the one layer error that counts, None: all do.
    """
    errors: dict[str, float] = {}
    missing: dict[str, tuple[str, ...]] = {}
    for place in twin.places:
        reasons = tuple(dict.fromkeys(r for name in place.inputs for r in missing.get(name, ())))
        if isinstance(place.step, str):
            reasons = reasons or (f"{place.label}: {place.step}",)
        elif any(n in twin.perturbed and n not in errors for n in place.inputs):
            reasons = reasons or (f"{place.label}: one of its inputs has no bound",)
        if reasons:
            missing |= dict.fromkeys(place.outputs, reasons)
            continue
        assert not isinstance(place.step, str)
        before = [errors.get(name, 0.0) for name in place.inputs]
        error = place.step(values, before) if any(before) else 0.0
        if place.own is not None and only in (None, place.own):
            error += number(values, place.own)
        errors |= dict.fromkeys(place.outputs, math.inf if math.isnan(error) else error)
    return errors, missing


def _square(value: float) -> float:
    return value * value


def _result(name: str, found: _Sums) -> OutputBound:
    measured = _ratio(found.change, found.energy)
    bound = _ratio(found.bound, found.energy)
    if found.missing:
        return OutputBound(name, None, measured, {}, found.missing)
    if found.energy == 0:
        return OutputBound(name, None, measured, {}, ("the dense output is zero everywhere",))
    if not math.isfinite(found.energy):
        reason = "the dense output is infinite, or too large to square"
        return OutputBound(name, None, measured, {}, (reason,))
    if bound is None:
        return OutputBound(name, None, measured, {}, ("the bound is too large for a number",))
    ratios = {label: _ratio(square, found.energy) or 0.0 for label, square in found.layers.items()}
    ordered = dict(sorted(ratios.items(), key=lambda item: -item[1]))
    return OutputBound(name, bound, measured, ordered)


def _ratio(change: float, energy: float) -> float | None:
    """Return change over energy, or None if that is no number."""
    if not math.isfinite(energy):
        return None
    if change == 0:
        return 0.0
    ratio = change / energy if energy > 0 else math.inf
    return ratio if math.isfinite(ratio) else None
