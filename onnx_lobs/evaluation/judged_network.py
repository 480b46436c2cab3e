"""Runs a network and shows, beside its outputs, the values that it is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnx_lobs.arrays import Array
from onnx_lobs.evaluation.final_activation import FinalActivation
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.staged import Runnable, open_session

Values = dict[str, Any]


class JudgedNetwork:
    """A network whose outputs are judged in front of their final activations.

    It is a Runnable itself, which gives the outputs as they are.

    Parameters
    ----------
    network
        Gives the outputs, and the values in front of their activations too.
    finals
        The activations; none: all outputs are judged as they are.
    added
        Names of the values that `network` gives and that are no outputs.
    """

    def __init__(
        self,
        network: Runnable,
        finals: Sequence[FinalActivation] = (),
        added: frozenset[str] = frozenset(),
    ) -> None:
        self.network, self.finals, self.added = network, tuple(finals), added

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> Values:
        """Return the outputs by name."""
        values = self.network.run(feeds, outputs)
        return values if outputs is not None else self._own(values)

    def run_both(self, feeds: Mapping[str, Array]) -> tuple[Values, Values]:
        """Return the outputs, and by the same names what they are judged by. One forward pass."""
        values = self.network.run(feeds)
        outputs = self._own(values)
        judged = {
            each.output: each.judged(values[each.value], outputs[each.output].shape)
            for each in self.finals
        }
        return outputs, {**outputs, **judged}

    @property
    def in_front(self) -> Runnable:
        """What gives, by the outputs' names, the values that they are judged by."""
        return _InFront(self) if self.finals else self

    def _own(self, values: Values) -> Values:
        return {name: value for name, value in values.items() if name not in self.added}


class _InFront:
    def __init__(self, network: JudgedNetwork) -> None:
        self._network = network

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> Values:
        """Return what the outputs are judged by."""
        judged = self._network.run_both(feeds)[1]
        return judged if outputs is None else {name: judged[name] for name in outputs}


def open_judged(
    model: Model, finals: Sequence[FinalActivation], *, provider: str, limit: int
) -> JudgedNetwork:
    """Return what runs and shows a model; other options as for :func:`open_session`.

    Parameters
    ----------
    finals
        The activations in front of which `model` is judged, of its own nodes.
    """
    added = values_in_front(model, finals)
    network = open_session(model, provider=provider, limit=limit, shown=sorted(added))
    return JudgedNetwork(network, finals, added)


def values_in_front(model: Model, finals: Sequence[FinalActivation]) -> frozenset[str]:
    """Return the values in front of final activations that are no outputs themselves."""
    outputs = {output.name for output in model.main.graph.output}
    return frozenset(each.value for each in finals) - outputs
