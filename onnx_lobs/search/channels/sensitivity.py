"""Measures what the network's outputs make of the loss of one coupled group's channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import IntArray
from onnx_lobs.calibration.held_out import held_every, is_held_out
from onnx_lobs.data.batches import Batches
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.staged import Runnable
from onnx_lobs.layers.write import round_weight, write_bias, write_weight
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import Store
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.channels.reduced import ReducedProduct
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.search.alone import can_be_cut, each_alone
from onnx_lobs.search.channels.measure import MeasuredChannels
from onnx_lobs.search.channels.reading import ReadingLayer
from onnx_lobs.search.trial_judge import Judge
from onnx_lobs.search.trials import remember_dense

SHARE = 0.3  # of a group's channels that are gone when its sensitivity is measured
SAMPLES = 64  # that it is measured on, at least
FLOOR = 1e-3  # of the largest sensitivity: none is less


@dataclass(frozen=True, eq=False)
class WithoutChannels:
    """The layers that read some channels of a group, refitted without them.

    Parameters
    ----------
    measured
        Of all groups.
    group
        Which of them.
    classes
        The channels that are gone.
    """

    measured: MeasuredChannels
    group: int
    classes: IntArray

    @property
    def loss(self) -> float:
        """What that loses."""
        return float(self.measured.curves[self.group].loss[self.classes.size])

    @property
    def readers(self) -> list[ReadingLayer]:
        """The layers that read them."""
        return [each for each in self.measured.layers.values() if each.gone(self.classes).any()]

    @property
    def top(self) -> int:
        """The first top-level node that reads one of the weights."""
        layers = [each.layer for each in self.readers]
        uses = [use.top for layer in layers for use in layer.uses]
        return min((*uses, *(top for layer in layers for top in layer.other_tops)))

    def write(self, model: Model) -> None:
        """Write the refitted layers into a model."""
        for each in self.readers:
            weight, layer = each.without(each.gone(self.classes)), each.layer
            write_weight(model, layer, round_weight(layer, weight))
            change = np.einsum("grd,gd->gr", each.weight - weight, each.mean)
            for use in layer.uses:
                if use.bias is not None:
                    write_bias(model, use, layer, change)


@dataclass(frozen=True, eq=False)
class WithoutDimensions:
    """A product of queries and keys without some dimensions; `group` counts behind the groups."""

    group: int
    loss: float
    reduced: ReducedProduct

    @property
    def top(self) -> int:
        """The first top-level node that reads one of the weights."""
        return self.reduced.top

    def write(self, model: Model) -> None:
        """Write its weights into a model."""
        self.reduced.write(model)


AloneChanged = WithoutChannels | WithoutDimensions


def sensitivities(
    setup: Setup,
    networks: Networks,
    measured: MeasuredChannels,
    scratch: Scratch,
    progress: Progress,
) -> tuple[float, ...]:
    """Return the output error over the loss, with some channels of each group alone gone.

    Behind the groups stand the products of queries and keys, without some of their dimensions.
    The losses are those of samples that were held out, if any were: on few samples a refit hides
    what is lost on others. So is the output error, as far as these are SAMPLES: a tenth of few
    samples is too noisy.

    Notes
    -----
    Cost: per group, one refit of the layers that read it and a pass on SAMPLES samples through
    what stands behind the first of them.
    """
    judge = Judge(networks, _scored(setup.batches), remember_dense(setup, networks))
    found = [0.0] * (len(measured.curves) + len(measured.products))
    progress.start("measuring sensitivities", len(found))
    parts = list(_parts(measured))
    for part, outputs in _outputs(setup, networks, judge, parts, scratch):
        error = judge.score_outputs(outputs).loss.error
        found[part.group] = error / part.loss if part.loss > 0 and error is not None else 0.0
        progress.advance()
    progress.advance(len(found) - len(parts))
    top = max(found, default=0.0)
    return tuple(max(each, FLOOR * top) if top > 0 else 1.0 for each in found)


def _parts(measured: MeasuredChannels) -> Iterator[AloneChanged]:
    """Yield what each group alone changes."""
    groups = zip(measured.coupling.groups, measured.curves, strict=True)
    for number, (group, curve) in enumerate(groups):
        gone = curve.order[: max(1, round(SHARE * curve.order.size))]
        part = WithoutChannels(measured, number, np.asarray(group.channels, np.int64)[gone])
        if part.readers:
            yield part
    for number, each in enumerate(measured.products, len(measured.curves)):
        count = max(1, round(SHARE * each.product.depth))
        yield WithoutDimensions(number, float(each.loss[count]), each.without(count))


def _outputs(
    setup: Setup,
    networks: Networks,
    judge: Judge,
    parts: Sequence[AloneChanged],
    scratch: Scratch,
) -> Iterator[tuple[AloneChanged, Runnable]]:
    """Yield each part with what gives the outputs when it alone is changed."""
    if can_be_cut(networks):
        store = Store(setup.memory.activations, scratch)
        yield from each_alone(networks, judge.batches, parts, store)
        return
    for part in parts:
        trial = networks.on_trial().pruned
        part.write(trial)
        yield part, networks.open_judged(trial).in_front


def _scored(batches: Batches) -> Batches:
    """Return the batches that were held out, and more where they have fewer than SAMPLES."""
    every = held_every(batches)
    order = sorted(range(len(batches)), key=lambda index: not is_held_out(index, every))
    ends = np.cumsum([batches.sizes[index] for index in order])
    n_held = sum(is_held_out(index, every) for index in order)
    count = max(n_held, int(np.searchsorted(ends, SAMPLES)) + 1)
    return batches.pick(order[:count])
