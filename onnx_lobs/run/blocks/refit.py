"""Fits each span of a pruned network to what the dense one gives there, zeros fixed.

Single layers are at their optimum already; what is left lies between them. A span takes what the
pruned network gives in front of it and learns what the dense one gives behind it: the least squares
of retraining, of a part of the network, whose loss no later layer blurs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.calibration.held_out import fitted_and_held
from onnx_lobs.calibration.network_runner import NetworkRunner
from onnx_lobs.data.batches import Batches
from onnx_lobs.evaluation.final_activation import FinalActivation
from onnx_lobs.graph.derivatives.observed import observe
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.memory.store import Store
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.blocks.pieces import cut_where_taken
from onnx_lobs.run.blocks.spans import Span, find_spans, part_of
from onnx_lobs.run.blocks.steps import Pace, take_steps
from onnx_lobs.run.retraining.aims import class_axis, distance_aim
from onnx_lobs.run.retraining.moving import OBSERVED, choose_tensors
from onnx_lobs.run.retraining.network import TrainedNetwork
from onnx_lobs.run.retraining.parameters import write_values
from onnx_lobs.run.retraining.training import TrainingSet

RATE = 0.01  # of a span's steps
LEAST_GAIN = 0.02  # of a span's loss on held-out samples; less is noise
TARGET = "target of the span"


@dataclass(frozen=True)
class JudgedEnd:
    """The value that a network is judged by, and the activation behind it, if there is one."""

    value: str
    final: FinalActivation | None


@dataclass(frozen=True, eq=False)
class RefittedSpans:
    """What fitting the spans of a network brought.

    Parameters
    ----------
    spans, fitted
        How many there are, and how many lost enough of their loss on held-out samples.
    values
        The new values of every tensor that changed.
    """

    spans: int
    fitted: int
    values: Mapping[str, Array]


def refit_spans(
    networks: tuple[Model, Model],
    last: JudgedEnd,
    batches: Batches,
    provider: str,
    stores: tuple[Store, Store],
    seed: int,
    progress: Progress,
) -> RefittedSpans:
    """Fit every span in order, each behind those that were fitted before it.

    Parameters
    ----------
    networks
        Execution copies of the dense and of the pruned network. Values of the latter change.
    last
        What the network is judged by.
    batches
        Calibration data; the held-out ones choose.
    provider
        Full name of an execution provider.
    stores
        Where values between spans are kept, of each network.
    seed
        Of the order of the batches.
    progress
        Told of every span.
    """
    dense, pruned = networks
    layers, _ = find_layers(pruned, LayerFilter(depthwise=True))
    spans = find_spans(pruned, layers, last.value)
    if [span.output for span in spans] == [last.value]:
        spans = ()  # the whole network, which is fitted behind them anyway
    types = _types(pruned, batches, provider)
    progress.start("fitting blocks", len(spans))
    places = {span.output: _place(dense, span.output) for span in spans}
    fronts = NetworkRunner(
        pruned, {w.start: w.inputs for w in spans if w.start}, batches, provider, stores[1],
        is_read_often=True,
    )  # fmt: skip
    behinds = NetworkRunner(
        dense, {places[w.output]: [w.output] for w in spans}, batches, provider, stores[0],
        is_read_often=True,
    )  # fmt: skip
    fitted, changed = 0, dict[str, Array]()
    for span in spans:
        if span.start:
            fronts.advance(span.start)
        behinds.advance(places[span.output])
        samples = _SpanSamples(span, fronts, behinds, batches)
        final = last.final if span.output == last.value else None
        values = _refit(part_of(pruned, span, types), span, final, samples, provider, seed)
        fitted += bool(values)
        write_values(pruned, values)
        changed.update(values)
        progress.advance()
    fronts.close()
    behinds.close()
    return RefittedSpans(len(spans), fitted, changed)


class _SpanSamples:
    """What goes into a span and what should come out, batch by batch; targets in order."""

    def __init__(
        self, span: Span, fronts: NetworkRunner, behinds: NetworkRunner, batches: Batches
    ) -> None:
        self.span, self.fronts, self.behinds, self.batches = span, fronts, behinds, batches

    def load(self, index: int) -> dict[str, Array]:
        """Return the inputs of the span on a batch."""
        if not self.span.start:
            feeds = self.batches.load(index)
            return {name: np.asarray(feeds[name]) for name in self.span.inputs}
        values = self.fronts.values(index)
        return {name: np.asarray(values[name]) for name in self.span.inputs}

    def target(self, index: int) -> Array:
        """Return what the dense network gives behind the span."""
        return np.asarray(self.behinds.values(index)[self.span.output])

    def sets(self) -> tuple[TrainingSet, TrainingSet]:
        """Return the batches to learn from, and those held out."""
        whole = Batches(self.load, self.batches.sizes, "a span")
        fitted, held = fitted_and_held(whole)
        return TrainingSet(fitted, _Known(self, fitted)), TrainingSet(held, _Known(self, held))


class _Known:
    """The targets of some batches."""

    def __init__(self, samples: _SpanSamples, batches: Batches) -> None:
        self._samples, self._places = samples, batches.first_places

    def of(
        self, index: int, feeds: Feeds, shapes: Mapping[str, tuple[int, ...]]
    ) -> Sequence[Array]:
        """Return the target of one batch."""
        return (self._samples.target(self._places[index]),)


def _refit(
    part: Model,
    span: Span,
    final: FinalActivation | None,
    samples: _SpanSamples,
    provider: str,
    seed: int,
) -> Mapping[str, Array]:
    """Return the values that fitting a span changed; none where it gains too little."""
    whole, held = samples.sets()
    fitted, seen = cut_where_taken(part, span.output, whole, provider)
    chosen = choose_tensors(part, OBSERVED, fitted.batches, seen.shapes, rows_apart=True)
    tensors = chosen.tensors
    if not tensors:
        return {}
    axis = class_axis(final, len(seen.shapes[span.output]))
    target = samples.target(whole.batches.first_places[0])
    aim = distance_aim(span.output, span.output, axis, target)
    network = TrainedNetwork(part, (aim,), tensors, provider)
    return take_steps(network, fitted, held, Pace(RATE, LEAST_GAIN, seed))


def _place(model: Model, value: str) -> int:
    """Return the index behind the node that makes a value."""
    nodes = model.main.graph.node
    return next(index + 1 for index, node in enumerate(nodes) if value in node.output)


def _types(model: Model, batches: Batches, provider: str) -> dict[str, int]:
    values = observe(model, batches.load(0), provider=provider)
    return {
        name: onnx.helper.np_dtype_to_tensor_dtype(dtype)
        for name, dtype in values.types.items()
        if dtype.kind != "O"
    }
