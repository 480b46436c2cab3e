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
from onnx_lobs.calibration.held_out import split_held
from onnx_lobs.calibration.network_runner import NetworkRunner
from onnx_lobs.data.batches import Batches
from onnx_lobs.graph.derivatives.observed import observe
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.memory.store import Store
from onnx_lobs.report.progress import Progress, Silent
from onnx_lobs.run.blocks.spans import Span, find_spans, part_of
from onnx_lobs.run.retraining.aims import Aim
from onnx_lobs.run.retraining.moving import choose_tensors
from onnx_lobs.run.retraining.network import TrainedNetwork
from onnx_lobs.run.retraining.parameters import MovingTensor, write_values
from onnx_lobs.run.retraining.training import Course, Trained, TrainingSet, held_loss, train

STEPS, RATE = 100, 0.005  # of a span
SHARES = (1.0, 0.5, 0.25)  # of the way from the least-squares weights, of which the best is taken
LEAST_GAIN = 0.02  # of a span's loss on held-out samples; less is noise
TARGET = "target of the span"


@dataclass(frozen=True)
class RefittedSpan:
    """What became of a span: its output, and its loss on held-out samples before and after."""

    output: str
    n_layers: int
    before: float
    after: float
    share: float


@dataclass(frozen=True)
class SpanCourse:
    """How spans are fitted: steps, largest relative step, what may move."""

    steps: int = STEPS
    rate: float = RATE
    move: str = "observed"
    gather: int = 1
    seed: int = 0


def refit_spans(
    networks: tuple[Model, Model],
    last: str,
    batches: Batches,
    provider: str,
    stores: tuple[Store, Store],
    course: SpanCourse,
    progress: Progress,
) -> tuple[tuple[RefittedSpan, ...], Mapping[str, Array]]:
    """Fit every span in order, each behind those that were fitted before it.

    Parameters
    ----------
    networks
        Execution copies of the dense and of the pruned network. Values of the latter change.
    last
        The value that the network is judged by.
    batches
        Calibration data; the held-out ones choose.
    provider
        Full name of an execution provider.
    stores
        Where values between spans are kept, of each network.
    course
        How a span is fitted.
    progress
        Told of every span.

    Returns
    -------
    spans, values
        What became of each, and the new values of every tensor that changed.
    """
    dense, pruned = networks
    layers, _ = find_layers(pruned, LayerFilter(depthwise=True))
    spans = find_spans(pruned, layers, last)
    types = _types(pruned, batches, provider)
    progress.start("fitting blocks", len(spans))
    places = {span.output: _place(dense, span.output) for span in spans}
    fronts = NetworkRunner(
        pruned, {w.start: w.inputs for w in spans if w.start}, batches, provider, stores[1]
    )
    behinds = NetworkRunner(
        dense, {places[w.output]: [w.output] for w in spans}, batches, provider, stores[0]
    )
    found, changed = [], dict[str, Array]()
    for span in spans:
        if span.start:
            fronts.advance(span.start)
        behinds.advance(places[span.output])
        samples = _SpanSamples(span, fronts, behinds, batches)
        one, values = _refit(part_of(pruned, span, types), span, samples, provider, course)
        found.append(one)
        write_values(pruned, values)
        changed.update(values)
        progress.advance()
    fronts.close()
    behinds.close()
    return tuple(found), changed


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
        fitted, held = split_held(whole)
        assert held is not None
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
    part: Model, span: Span, samples: _SpanSamples, provider: str, course: SpanCourse
) -> tuple[RefittedSpan, Mapping[str, Array]]:
    """Return what fitting a span brought, and the values that changed."""
    fitted, held = samples.sets()
    shapes = observe(part, fitted.batches.load(0), provider=provider).shapes
    tensors = choose_tensors(part, course.move, fitted.batches, shapes).tensors
    size = _mean_square(samples, fitted.batches)
    aim = Aim(span.output, "distance", None, span.output, 1 / max(size, 1e-30))
    network = TrainedNetwork(part, (aim,), tensors, provider)
    if not tensors:
        return RefittedSpan(span.output, span.n_layers, 0.0, 0.0, 0.0), {}
    made = Course(course.steps, course.rate, "adam", course.seed, course.gather)
    done = train(network, fitted, held, made, Silent())
    share, after, values = _pulled(network, held, tensors, done)
    before = done.losses[0][1]
    if not after < (1 - LEAST_GAIN) * before:
        return RefittedSpan(span.output, span.n_layers, before, before, 0.0), {}
    return RefittedSpan(span.output, span.n_layers, before, after, share), values


def _pulled(
    network: TrainedNetwork, held: TrainingSet, tensors: Sequence[MovingTensor], done: Trained
) -> tuple[float, float, Mapping[str, Array]]:
    """Return how far to go from the values before, the loss there, and the values."""
    best = (0.0, done.losses[0][1], dict[str, Array]())
    for share in SHARES:
        values = {
            t.name: (t.start + share * (done.values[t.name] - t.start)).astype(np.float32)
            for t in tensors
        }
        loss = held_loss(network, held, values)
        if loss < best[1]:
            best = (share, loss, values)
    return best


def _mean_square(samples: _SpanSamples, fitted: Batches) -> float:
    """Return the sum of squares of the targets of one sample."""
    first = samples.target(fitted.first_places[0]).astype(np.float64)
    return float(np.square(first).sum() / len(first))


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
