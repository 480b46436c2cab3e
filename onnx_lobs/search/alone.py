"""Runs networks of which one layer is pruned, or some together, from the first of them on.

What stands in front of the layer gives what it gives in the dense network. So the dense network
runs once, in stages, and each pruned one only behind the values that are live at its layer: half
of a network on average, and half of the time to load it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.calibration.lazy_stage import LazyStage
from onnx_lobs.calibration.network_runner import NetworkRunner
from onnx_lobs.data.batches import Batches
from onnx_lobs.evaluation.judged_network import JudgedNetwork, values_in_front
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.staged import Runnable
from onnx_lobs.graph.run.stages import Stage, constant_makers, cut
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layers.write import round_weight, write_bias, write_weight
from onnx_lobs.memory.store import Store
from onnx_lobs.run.networks import Networks
from onnx_lobs.solvers.layerwise import Outcome


class ChangedPart(Protocol):
    """Changes of some weights, which can be written into a model."""

    @property
    def top(self) -> int:
        """The first top-level node that reads one of the weights."""

    def write(self, model: Model) -> None:
        """Write them into a model."""


AnyPart = TypeVar("AnyPart", bound=ChangedPart)


@dataclass(frozen=True)
class PrunedLayer:
    """A layer, its pruned tensor as stored, and the change of each use's bias."""

    layer: Layer
    weight: Array
    bias_change: tuple[FloatArray | None, ...]

    @classmethod
    def of(cls, layer: Layer, outcome: Outcome) -> PrunedLayer:
        """Return what is written of a solved layer."""
        return cls(layer, round_weight(layer, outcome.weight), outcome.bias_change)

    def write(self, model: Model) -> None:
        """Write it into a model."""
        write_weight(model, self.layer, self.weight)
        for use, change in zip(self.layer.uses, self.bias_change, strict=True):
            if change is not None:
                write_bias(model, use, self.layer, change)

    @property
    def top(self) -> int:
        """The first top-level node that reads the layer's weight."""
        return min((*(use.top for use in self.layer.uses), *self.layer.other_tops))


def can_be_cut(networks: Networks) -> bool:
    """Whether all judged values of the dense network are computed, none of constants alone."""
    dense = networks.dense
    constants = {*dense.main.initializers, *constant_makers(dense)}
    return constants.isdisjoint(_judged_names(networks))


def each_alone(
    networks: Networks, batches: Batches, pruned: Sequence[AnyPart], store: Store
) -> Iterator[tuple[AnyPart, Runnable]]:
    """Yield every part, in graph order, with what gives the judged values if it alone is pruned.

    Parameters
    ----------
    networks
        Of which :func:`can_be_cut` is true. Not modified.
    batches
        What is to be run; the dense network reads them once.
    pruned
        The parts: layers, or what changes several.
    store
        Where the values between stages are kept.

    Notes
    -----
    What is yielded gives the outputs of the batches in their order, once, before the next one is
    asked for. Raises ModelError where a value between stages is no tensor, as sequential
    calibration does.
    """
    dense, names = networks.dense, _judged_names(networks)
    finals, added = networks.finals, values_in_front(networks.dense, networks.finals)
    end = len(dense.main.graph.node)
    ordered = sorted(pruned, key=lambda each: each.top)
    behind = {top: cut(dense, {top: (), end: names})[1] for top in {x.top for x in ordered}}
    stops = {top: {*stage.inputs, *(set(names) - set(stage.outputs))}
             for top, stage in behind.items()}  # fmt: skip
    runner = NetworkRunner(dense, stops, batches, networks.provider, store)
    reached = -1
    for each in ordered:
        if each.top != reached:
            runner.advance(each.top)
            reached = each.top
        model = dense.copied()
        each.write(model)
        values = _Behind(model, behind[each.top], networks.provider, runner, names)
        yield each, JudgedNetwork(values, finals, added).in_front
    runner.close()


def _judged_names(networks: Networks) -> list[str]:
    """Return the outputs and the values in front of their final activations."""
    outputs = [output.name for output in networks.dense.main.graph.output]
    return [*outputs, *sorted(values_in_front(networks.dense, networks.finals))]


class _Behind:
    """Runs the last stage of a network on the values that are live before it, batch by batch."""

    def __init__(
        self, model: Model, stage: Stage, provider: str, runner: NetworkRunner, names: Sequence[str]
    ) -> None:
        self._run, self._runner, self._names = LazyStage(model, stage, provider), runner, names
        self._batch = 0

    def run(self, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the outputs of the next batch, which is taken to be `feeds`."""
        live = self._runner.values(self._batch)
        self._batch += 1
        made = self._run(live)
        names = self._names if outputs is None else outputs
        return {name: made[name] if name in made else live[name] for name in names}
