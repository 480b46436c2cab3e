"""Calibrates all layers in one pass over the dense network: taps their inputs, keeps the Grams.

:mod:`onnx_lobs.calibration.sequential` reads them layer by layer while the network is pruned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import onnx

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.calibration.collect import Collector, InputSource
from onnx_lobs.calibration.in_graph import TapSession, open_taps
from onnx_lobs.calibration.observation_choice import ObservationChoice
from onnx_lobs.calibration.options import CalibrationOptions
from onnx_lobs.calibration.shared_inputs import SharedInput
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.arena import release_memory
from onnx_lobs.graph.run.taps import tap_name
from onnx_lobs.layers.layer import Use
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.linalg.workers import map_batches

AT_ONCE_BYTES = 64 << 20  # of a shared input's Grams, up to which several are put together at once


def calibrate_independent(
    model: Model,
    shared_inputs: Sequence[SharedInput],
    batches: Iterable[Feeds],
    options: CalibrationOptions,
    *,
    tick: Callable[[int], None] = lambda n: None,
    tapped: Sequence[SharedInput] | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> list[Calibration]:
    """Return the moments of every shared input on the dense network.

    All those in `tapped` become outputs of the graph, at least these: which ones do can change how
    onnxruntime rounds. With ``options.in_graph`` the sums over observations are computed in the
    graph where they can be, over all positions; `warn` is told where they cannot and why.
    Otherwise convolutions read ``options.positions`` observations per input, or all.

    Cost: one forward pass, the unfolding of every tap and n d^2 flops per Gram; memory the
    Grams, one batch of taps and one unfolded chunk of 16 MiB. Activations are not kept.
    In the graph: :func:`onnx_lobs.calibration.gram_nodes.add_gram_outputs`.
    """
    tapped = shared_inputs if tapped is None else tapped
    session = open_taps(
        model, _wanted(tapped), tap_types(model, tapped), options.provider,
        in_graph=options.in_graph, warn=warn,
    )  # fmt: skip
    choices = [ObservationChoice(shared, options) for shared in shared_inputs]
    collectors = [Collector(model, choice, has_target=False) for choice in choices]
    seconds = [0.0] * len(collectors)
    for index, feeds in enumerate(batches):
        seconds = _add_all(collectors, index, session, session.run(feeds), seconds)
        tick(1)
    del session
    release_memory()  # a batch of taps, and results take memory of their own
    return _results(collectors)


def _results(collectors: Sequence[Collector]) -> list[Calibration]:
    """Return all moments: large Grams one by one, for what putting one together takes besides."""
    small = [each for each in collectors if each.shared.gram_bytes <= AT_ONCE_BYTES]
    found = dict(zip(map(id, small), map_batches(Collector.result, small), strict=True))
    return [found.get(id(each)) or each.result() for each in collectors]


def _add_all(
    collectors: Sequence[Collector],
    index: int,
    session: TapSession,
    values: Mapping[str, Array],
    before: Sequence[float],
) -> list[float]:
    """Add a batch to all collectors, several at a time, and return how long each took.

    Those that took long `before` begin, so that no core waits for the last of them.
    """
    input_of, sums_of = inputs_in(values), session.sums_in(values)
    seconds = [0.0] * len(collectors)

    def add(place: int) -> None:
        started = time.perf_counter()
        collectors[place].add(index, input_of, sums_of=sums_of)
        seconds[place] = time.perf_counter() - started

    map_batches(add, sorted(range(len(collectors)), key=lambda place: -before[place]))
    return seconds


def inputs_in(values: Feeds) -> InputSource:
    """Return what finds a use's input among the values that a session gave."""
    return lambda use: values[tap_name(use.scope, use.input)]


def tap_types(model: Model, shared_inputs: Sequence[SharedInput]) -> dict[tuple[int, str], int]:
    """Return the element type of every tap: that of the weight it is multiplied with."""
    types: dict[tuple[int, str], int] = {}
    for shared in shared_inputs:
        layer = shared.layers[0]
        tensor = model.scopes[layer.scope].initializers[layer.weight]
        stored = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        seen = onnx.helper.np_dtype_to_tensor_dtype(layer.chain.dtype(stored))
        types |= {(use.scope, use.input): seen for use in shared.uses}
    return types


def tap_values(
    model: Model, shared_inputs: Sequence[SharedInput], feeds: Feeds, provider: str
) -> InputSource:
    """Return what finds a use's input when the model runs on `feeds`, once."""
    return tap_reader(model, shared_inputs, provider)(feeds)


def tap_reader(
    model: Model, shared_inputs: Sequence[SharedInput], provider: str
) -> Callable[[Feeds], InputSource]:
    """Return what runs the model on a batch and finds every use's input there."""
    types = tap_types(model, shared_inputs)
    session = open_taps(model, _wanted(shared_inputs), types, provider)
    return lambda feeds: inputs_in(session.run(feeds))


def _wanted(shared_inputs: Sequence[SharedInput]) -> list[tuple[Use, int]]:
    """Return all uses, each with the columns of its layer's matrices."""
    return [
        (use, shared.layers[0].layout.columns) for shared in shared_inputs for use in shared.uses
    ]


def observations_per_sample(
    model: Model, shared_inputs: Sequence[SharedInput], feeds: Feeds, samples: int, provider: str
) -> list[float]:
    """Return how many observations a sample gives each shared input, by one run of `samples`."""
    input_of = tap_values(model, shared_inputs, feeds, provider)
    totals = [
        sum(use.n_observations(input_of(use).shape) for use in shared.uses)
        for shared in shared_inputs
    ]
    return [total / samples for total in totals]
