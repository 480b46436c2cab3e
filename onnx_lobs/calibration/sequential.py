"""Calibrates each layer when it is its turn, so that only one stage of a network is in memory.

In sequential mode the stages are the pruned network's: a layer is solved on the inputs that the
layers before it leave, towards the pre-activations that the dense network has. The dense network
runs once, ahead, and leaves what the layers aim at (:mod:`onnx_lobs.calibration.dense_pass`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from onnx_lobs.arrays import Feeds
from onnx_lobs.calibration.collect import Collector, InputSource, no_target
from onnx_lobs.calibration.dense_pass import DensePass
from onnx_lobs.calibration.independent import inputs_in, tap_types
from onnx_lobs.calibration.network_runner import NetworkRunner
from onnx_lobs.calibration.observation_choice import ObservationChoice
from onnx_lobs.calibration.options import CalibrationOptions
from onnx_lobs.calibration.shared_inputs import SharedInput
from onnx_lobs.calibration.target_cache import TargetCache
from onnx_lobs.calibration.tied import TiedCalibration
from onnx_lobs.graph.model import Model, outer_names
from onnx_lobs.graph.run.arena import release_memory
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.run.stages import stage_of, stage_session
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.linalg.workers import map_batches
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import Overlay, Store

IsKnown = Callable[[SharedInput], bool]
Calibrations = Iterator[tuple[SharedInput, Calibration | None]]

TARGETS_PART = 2  # of the values' memory, for what the dense network leaves


def calibrate_sequential(
    dense: Model,
    pruned: Model,
    shared_inputs: Sequence[SharedInput],
    batches: Iterable[Feeds],
    options: CalibrationOptions,
    *,
    store: Store | None = None,
    is_known: IsKnown = lambda shared: False,
    cache: TargetCache | None = None,
) -> Calibrations:
    """Yield each shared input with its moments; its weights in `pruned` change before the next.

    Parameters
    ----------
    dense, pruned
        Execution copies of one model. The caller writes the solved weights of a yielded
        shared input into `pruned` and then asks for the next one.
    shared_inputs
        From :func:`onnx_lobs.calibration.shared_inputs.find_shared_inputs`.
    batches
        Read once, and once more where weights are tied, or more often: see `most_grams`.
    options
        Of which `in_graph` holds for tied layers only.
    store
        Where the values between stages are kept; None: in memory.
    is_known
        Asked just before a shared input is calibrated; one whose new weights are known already is
        yielded without moments.
    cache
        What an earlier run over these batches left of the dense network, or this one will leave.

    Raises
    ------
    DataError, ModelError
        As :class:`~onnx_lobs.calibration.collect.Collector`.

    Notes
    -----
    The inputs are the pruned network's, the targets the dense network's pre-activations.
    A tied layer is calibrated on the dense network, since its later uses cannot be reached
    before it is solved; layers inside one If node see the pruned network's values from
    outside the node, but each other's dense ones. Cost: two forward passes in all, and the
    Grams; memory: the values of the pruned network that are live at one cut, for all batches, and
    the targets that the dense one left, as far as `store` lets them.
    """
    store = Store(sys.maxsize, Scratch()) if store is None else store
    choices = [ObservationChoice(shared, options) for shared in shared_inputs]
    types = tap_types(dense, shared_inputs)
    targets = DensePass(dense, choices, types, options, store.part(TARGETS_PART), cache)
    walk = _Walk(dense, pruned, choices, batches, options, store, targets)
    for feeds in batches:
        walk.runner.take(feeds)
        targets.take(feeds)
    yield from walk.calibrations(TiedCalibration(dense, shared_inputs, batches, options), is_known)
    targets.close()


def calibrate_in_stages(
    dense: Model,
    shared_inputs: Sequence[SharedInput],
    batches: Iterable[Feeds],
    options: CalibrationOptions,
    *,
    store: Store | None = None,
    is_known: IsKnown = lambda shared: False,
) -> Calibrations:
    """Yield each shared input with its moments on the dense network, stage by stage.

    They are those of :func:`~onnx_lobs.calibration.independent.calibrate_independent`, but only one
    stage and the Grams of one shared input are in memory at a time. Parameters, errors and costs
    are those of :func:`calibrate_sequential`, with one forward pass less.
    """
    store = Store(sys.maxsize, Scratch()) if store is None else store
    choices = [ObservationChoice(shared, options) for shared in shared_inputs]
    walk = _Walk(dense, dense, choices, batches, options, store)
    yield from walk.calibrations(TiedCalibration(dense, shared_inputs, batches, options), is_known)


def _by_top(shared_inputs: Sequence[SharedInput]) -> dict[int, list[SharedInput]]:
    """Return the shared inputs by the top-level node that they begin at, in graph order."""
    found: dict[int, list[SharedInput]] = {}
    for shared in sorted(shared_inputs, key=lambda shared: shared.top):
        found.setdefault(shared.top, []).append(shared)
    return found


class _Walk:
    """A walk through a network in stages, which stops before each layer to calibrate it.

    Parameters
    ----------
    dense
        For weights and types.
    model
        The network that is run, whose values are the inputs.
    choices
        Of all shared inputs.
    batches, options, store
        As for :func:`calibrate_sequential`.
    targets
        What the layers aim at; None: what their own weights make of the inputs.
    """

    def __init__(
        self,
        dense: Model,
        model: Model,
        choices: Sequence[ObservationChoice],
        batches: Iterable[Feeds],
        options: CalibrationOptions,
        store: Store,
        targets: DensePass | None = None,
    ) -> None:
        self.dense, self.model, self.choices, self.options = dense, model, choices, options
        self.targets = targets
        by_top = _by_top([c.shared for c in choices if not c.shared.is_tied])
        stops = {top: _needs(dense, members, top) for top, members in by_top.items()}
        self.runner = NetworkRunner(model, stops, batches, options.provider, store)

    def calibrations(self, tied: TiedCalibration, is_known: IsKnown) -> Calibrations:
        """Yield all shared inputs, each with its moments unless it is known."""
        for top, members in _by_top([choice.shared for choice in self.choices]).items():
            free = [shared for shared in members if not shared.is_tied]
            found: list[tuple[SharedInput, Calibration | None]] = []
            if free:
                self.runner.advance(top)
                unknown = [shared for shared in free if not is_known(shared)]
                found += self._collect(top, free, unknown)
                found += [(shared, None) for shared in free if shared not in unknown]
            if self.options.is_tight and found:
                release_memory()
            for shared in members:
                if shared.is_tied:
                    yield shared, None if is_known(shared) else tied.take(shared)
            while found:  # popped, so that what was solved is freed
                yield found.pop(0)
            if self.targets is not None:
                self.targets.forget(free)
        self.runner.close()

    def _collect(
        self, top: int, members: Sequence[SharedInput], wanted: Sequence[SharedInput]
    ) -> Iterator[tuple[SharedInput, Calibration]]:
        """Yield the moments of those `wanted` of the `members`, which begin at node `top`.

        The batches are dealt out to collectors that work at the same time. How many there are does
        not depend on the machine, so neither do the sums.
        """
        if not wanted:
            return
        targets = self.targets
        if targets is not None:
            targets.reach(wanted)
        choices = [choice for choice in self.choices if choice.shared in wanted]
        first = self._collectors(choices)
        count = 1 if _is_in_branch(members) else min(c.most_parts for c in first)
        parts = [first, *(self._collectors(choices) for _ in range(1, count))]

        def add(part: int) -> None:
            for index, input_of in enumerate(self._inputs(top, members)):
                if index % count == part:
                    of = no_target if targets is None else partial(targets.target, batch=index)
                    for collector in parts[part]:
                        collector.add(index, input_of, of)
            for collector in parts[part]:
                collector.settle()

        map_batches(add, range(count))
        for collectors in zip(*parts, strict=True):
            whole, *rest = collectors
            for other in rest:
                whole.merge(other)
            yield whole.shared, whole.result()

    def _collectors(self, choices: Sequence[ObservationChoice]) -> list[Collector]:
        has_target = self.targets is not None
        return [Collector(self.dense, choice, has_target=has_target) for choice in choices]

    def _inputs(self, top: int, members: Sequence[SharedInput]) -> Iterator[InputSource]:
        """Yield, per batch, what finds a use's input."""
        inner = self._inner_session(top, members) if _is_in_branch(members) else None
        for batch in range(len(self.runner.stored)):
            values = self.runner.values(batch)
            yield inputs_in(values if inner is None else Overlay(inner.run(values), values))

    def _inner_session(self, top: int, members: Sequence[SharedInput]) -> Session:
        """Return a session on one node with branches that taps the values inside them."""
        types = tap_types(self.dense, members)
        taps = [(use.scope, use.input) for shared in members for use in shared.uses if use.scope]
        stage, first = stage_of(self.model, top), self.runner.values(0)
        return stage_session(self.model, stage, first, self.options.provider, taps, types)


def _is_in_branch(shared_inputs: Sequence[SharedInput]) -> bool:
    """Whether taps are inside a node, which must be run to see them."""
    return any(use.scope for shared in shared_inputs for use in shared.uses)


def _needs(dense: Model, shared_inputs: Sequence[SharedInput], top: int) -> set[str]:
    """Return the values that must be there before layers at top-level node `top` are solved."""
    outer = outer_names(dense.main.graph.node[top])
    names: set[str] = set()
    for use in (use for shared in shared_inputs for use in shared.uses):
        names |= set[str](outer) if use.scope else {use.input}
    return names
