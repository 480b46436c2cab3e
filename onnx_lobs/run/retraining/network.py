"""Holds a network whose chosen tensors are inputs, and gives its loss and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import onnx

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.graph.derivatives.losses import LOSSES, AppendedLoss
from onnx_lobs.graph.derivatives.observed import observe
from onnx_lobs.graph.derivatives.reverse import (
    StoppedGradient,
    append_gradients,
    gradient_writer,
)
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.writer import Writer
from onnx_lobs.layers.weight_gradient import weight_gradient
from onnx_lobs.run.retraining.aims import Aim
from onnx_lobs.run.retraining.parameters import MovingTensor

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class ShapedNetwork:
    """Sessions for batches of one shape.

    Parameters
    ----------
    loss, gradients
        Give the loss alone, and with it all gradients; sessions that are made when asked for.
    total, targets
        Names of the loss, and of the inputs that take targets.
    names
        Gradients by the name of their value.
    stopped
        What has no rule.
    shapes
        Of all values.
    types
        Element types of the tensors that move.
    """

    loss: Callable[[], Session]
    gradients: Callable[[], Session]
    total: str
    targets: tuple[str, ...]
    names: Mapping[str, str]
    stopped: tuple[StoppedGradient, ...]
    shapes: Shapes
    types: Mapping[str, np.dtype[np.generic]]


class TrainedNetwork:
    """A pruned network in training.

    Parameters
    ----------
    model
        Execution copy. Not modified.
    aims
        What losses compare.
    tensors
        What moves.
    provider
        Full name of an execution provider.

    Notes
    -----
    Sessions are made for every new shape of a batch.
    """

    def __init__(
        self, model: Model, aims: Sequence[Aim], tensors: Sequence[MovingTensor], provider: str
    ) -> None:
        self.model, self.aims, self.provider = model, tuple(aims), provider
        self.tensors = tuple(tensors)
        self._known: dict[tuple[tuple[str, tuple[int, ...]], ...], ShapedNetwork] = {}

    def shaped(self, feeds: Feeds) -> ShapedNetwork:
        """Return the sessions for batches of this one's shapes."""
        key = tuple(sorted((name, np.shape(value)) for name, value in feeds.items()))
        if key not in self._known:
            self._known[key] = self._made(feeds)
        return self._known[key]

    def loss(self, feeds: Feeds, targets: Sequence[Array], values: Mapping[str, Array]) -> float:
        """Return the loss on one batch, mean over its samples."""
        shaped = self.shaped(feeds)
        fed = self._fed(shaped, feeds, targets, values)
        return float(shaped.loss().run(fed, [shaped.total])[shaped.total].reshape(()))

    def step(
        self, feeds: Feeds, targets: Sequence[Array], values: Mapping[str, Array]
    ) -> tuple[float, dict[str, Array]]:
        """Return the loss on one batch, and its gradient in every tensor that moves."""
        shaped = self.shaped(feeds)
        seen = shaped.gradients().run(self._fed(shaped, feeds, targets, values))
        found: dict[str, Array] = {}
        for tensor in self.tensors:
            gradient = self._gradient(tensor, shaped, seen, feeds)
            found[tensor.name] = gradient.astype(np.float32) * tensor.kept
        return float(seen[shaped.total].reshape(())), found

    def _gradient(
        self, tensor: MovingTensor, shaped: ShapedNetwork, seen: Feeds, feeds: Feeds
    ) -> Array:
        """Return the gradient of one tensor: the graph's, or summed up over a weight's uses."""
        if tensor.layer is None:
            name = shaped.names.get(tensor.name)
            return np.zeros_like(tensor.start) if name is None else seen[name]
        total = np.zeros_like(tensor.start)
        for use in tensor.layer.uses:
            if use.output in shaped.names:
                x = seen[use.input] if use.input in seen else np.asarray(feeds[use.input])
                total += weight_gradient(tensor.layer, use, x, seen[shaped.names[use.output]])
        return total

    def _fed(
        self, shaped: ShapedNetwork, feeds: Feeds, targets: Sequence[Array], values: Feeds
    ) -> dict[str, Array]:
        """Return the inputs, the targets and the tensors in the types that the graph has."""
        fed = {**feeds, **dict(zip(shaped.targets, targets, strict=True))}
        return fed | {name: value.astype(shaped.types[name]) for name, value in values.items()}

    def _made(self, feeds: Feeds) -> ShapedNetwork:
        """Append losses and gradients to a copy of the network."""
        model = self.model.copied()
        values = observe(model, feeds, provider=self.provider)
        writer = gradient_writer(model)
        losses = [_append(writer, aim, values.shapes, values.types) for aim in self.aims]
        total = _weighted(writer, self.aims, losses, values.types[self.aims[0].value])
        given = {
            loss.value: _scaled(writer, loss.gradient, aim.weight, values.types[loss.value])
            for aim, loss in zip(self.aims, losses, strict=True)
        }
        uses = [use for t in self.tensors if t.layer is not None for use in t.layer.uses]
        small = [tensor.name for tensor in self.tensors if tensor.layer is None]
        light = model.copied()
        wanted = [*small, *(use.output for use in uses)]
        found = append_gradients(model, writer, given, dict.fromkeys(wanted), values)
        taps = [use.input for use in uses if use.input not in model.main.inputs]
        names = [tensor.name for tensor in self.tensors]
        shown = [total, *found.names.values(), *taps]
        return ShapedNetwork(
            cache(partial(_session, light, names, [total], self.provider)),
            cache(partial(_session, model, names, [*dict.fromkeys(shown)], self.provider)),
            total,
            tuple(loss.target for loss in losses),
            found.names,
            found.stopped,
            values.shapes,
            {name: values.types[name] for name in names},
        )


def _append(
    writer: Writer, aim: Aim, shapes: Shapes, types: Mapping[str, np.dtype[np.generic]]
) -> AppendedLoss:
    return LOSSES[aim.loss](writer, aim.value, shapes[aim.value], types[aim.value], axis=aim.axis)


def _weighted(
    writer: Writer, aims: Sequence[Aim], losses: Sequence[AppendedLoss], dtype: np.dtype[np.generic]
) -> str:
    """Append the sum of the losses with their weights."""
    parts = [
        _scaled(writer, writer.reshape(loss.loss, (1,)), aim.weight, dtype)
        for aim, loss in zip(aims, losses, strict=True)
    ]
    return writer.node("Sum", parts)


def _scaled(writer: Writer, value: str, factor: float, dtype: np.dtype[np.generic]) -> str:
    return writer.node("Mul", [value, writer.constant(np.array(factor, dtype))])


def _session(model: Model, moving: Sequence[str], shown: Sequence[str], provider: str) -> Session:
    """Return a session of a graph whose moving tensors are inputs, and that gives `shown`."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    graph = proto.graph
    types = {tensor.name: tensor for tensor in graph.initializer}
    for name in moving:
        kind, dims = types[name].data_type, list(types[name].dims)
        graph.input.append(onnx.helper.make_tensor_value_info(name, kind, dims))
    kept = [tensor for tensor in graph.initializer if tensor.name not in set(moving)]
    copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del graph.initializer[:]
    graph.initializer.extend(copies)
    del graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in shown)
    return Session(proto, folder=model.folder, provider=provider)
