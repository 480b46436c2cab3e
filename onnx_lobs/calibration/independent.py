"""From batches to second moments: run the model, tap the layers' inputs, keep only the Grams.

Here all taps are read in one pass over the dense network;
:mod:`onnx_lobs.calibration.sequential` reads them layer by layer while the network is pruned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import onnx

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.calibration.collect import Collector, Lookup
from onnx_lobs.calibration.in_graph import Shown, show
from onnx_lobs.calibration.reading import LEAST_OBSERVATIONS, Reading
from onnx_lobs.calibration.shared_inputs import SharedInput
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.arena import release_memory
from onnx_lobs.graph.run.taps import tap_name
from onnx_lobs.layers.layer import Use
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.linalg.workers import map_batches

AT_ONCE_BYTES = 64 << 20  # of the Grams of a group, up to which several are put together at once

Progress = Callable[[int], None]


def calibrate_independent(
    model: Model,
    groups: Sequence[SharedInput],
    batches: Iterable[Feeds],
    *,
    n_batches: int,
    provider: str,
    seed: int = 0,
    positions: int | None = None,
    least_observations: int = LEAST_OBSERVATIONS,
    tick: Progress = lambda n: None,
    shown: Sequence[SharedInput] | None = None,
    in_graph: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> list[Calibration]:
    """Return the moments of every group on the inputs of the dense network.

    The inputs of the groups `shown` become outputs of the graph, at least these: which ones
    do can change how onnxruntime rounds. With `in_graph` the sums over columns are computed in
    the graph where they can be, over all positions; `note` is told where they cannot and why.
    Otherwise convolutions read `positions` observations per input, or all.

    Cost: one forward pass, the unfolding of every tap and n d^2 flops per Gram; memory the
    Grams, one batch of taps and one unfolded chunk of 16 MiB. Activations are not kept.
    In the graph: :func:`onnx_lobs.calibration.gram_nodes.add_gram_outputs`.
    """
    shown = groups if shown is None else shown
    session = show(
        model, _wanted(shown), tap_types(model, shown), provider, in_graph=in_graph, note=note
    )
    readings = [
        Reading(group, n_batches, seed, positions=positions, least_observations=least_observations)
        for group in groups
    ]
    collectors = [Collector(model, reading, towards=False) for reading in readings]
    seconds = [0.0] * len(collectors)
    for index, feeds in enumerate(batches):
        seconds = _add_all(collectors, index, session, session.run(feeds), seconds)
        tick(1)
    del session
    release_memory()  # a batch of taps, and results take memory of their own
    return _results(collectors)


def _results(collectors: Sequence[Collector]) -> list[Calibration]:
    """Return all moments: large Grams one by one, for what putting one together takes besides."""
    small = [each for each in collectors if each.group.gram_bytes <= AT_ONCE_BYTES]
    found = dict(zip(map(id, small), map_batches(Collector.result, small), strict=True))
    return [found.get(id(each)) or each.result() for each in collectors]


def _add_all(
    collectors: Sequence[Collector],
    index: int,
    session: Shown,
    values: Mapping[str, Array],
    before: Sequence[float],
) -> list[float]:
    """Add a batch to all collectors, several at a time, and return how long each took.

    Those that took long `before` begin, so that no core waits for the last of them.
    """
    own, made = lookup(values), session.made(values)
    seconds = [0.0] * len(collectors)

    def add(place: int) -> None:
        started = time.perf_counter()
        collectors[place].add(index, own, made=made)
        seconds[place] = time.perf_counter() - started

    map_batches(add, sorted(range(len(collectors)), key=lambda place: -before[place]))
    return seconds


def lookup(values: Feeds) -> Lookup:
    """Return how to find a use's input among the values that a session showed."""
    return lambda use: values[tap_name(use.scope, use.input)]


def tap_types(model: Model, groups: Sequence[SharedInput]) -> dict[tuple[int, str], int]:
    """Return the element type of every tap: that of the weight it is multiplied with."""
    types: dict[tuple[int, str], int] = {}
    for group in groups:
        layer = group.layers[0]
        tensor = model.scopes[layer.scope].initializers[layer.weight]
        stored = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        seen = onnx.helper.np_dtype_to_tensor_dtype(layer.chain.dtype(stored))
        types |= {(use.scope, use.input): seen for use in group.uses}
    return types


def tap_values(model: Model, groups: Sequence[SharedInput], feeds: Feeds, provider: str) -> Lookup:
    """Return how to find what each use reads when the model runs on `feeds`, once."""
    return lookup(show(model, _wanted(groups), tap_types(model, groups), provider).run(feeds))


def _wanted(groups: Sequence[SharedInput]) -> list[tuple[Use, int]]:
    """Return all uses, each with the columns of its layer's matrices."""
    return [(use, group.layers[0].layout.columns) for group in groups for use in group.uses]


def observations_per_sample(
    model: Model, groups: Sequence[SharedInput], feeds: Feeds, samples: int, provider: str
) -> list[float]:
    """Return how many observations a sample gives each group, by one run of `samples`."""
    found = tap_values(model, groups, feeds, provider)
    totals = [sum(use.n_columns(found(use).shape) for use in group.uses) for group in groups]
    return [total / samples for total in totals]
