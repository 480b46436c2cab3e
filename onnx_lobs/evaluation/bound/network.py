"""Bounds a pruned network's output errors, and predicts them to first order, in one pass over data.

The prediction adds a part t of the layers' errors to their outputs in the dense network, and
divides what that changes of the network's outputs by t: the errors times the outputs' derivatives.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from onnx_lobs.arrays import Array, Feeds, FloatArray
from onnx_lobs.evaluation.bound.changes import Changes, DenseRun, PrunedRun, Values
from onnx_lobs.evaluation.bound.paths import ErrorPaths, Factors, Reasons
from onnx_lobs.evaluation.samples import pair_up
from onnx_lobs.graph.model import Model
from onnx_lobs.report.record import BoundRecord

# Of each layer's error. A Softmax that is sure of one class hardly moves at first: with 0.1 a text
# recogniser's error is predicted 2.1 times too low.
STEP = 0.3
MOST_RUNS = 4096  # samples that are run for single layers' predictions, all layers together
WHOLE = ""  # name of the prediction for all layers at once


def bound_network(
    dense: Model,
    pruned: Model,
    layers: Mapping[str, str],
    batches: Iterable[Feeds],
    *,
    provider: str,
    tick: Callable[[int], None] = lambda n: None,
) -> tuple[tuple[BoundRecord, ...], dict[str, float]]:
    """Bound the errors of the outputs on some data, and predict them to first order.

    Parameters
    ----------
    dense, pruned, layers
        As :class:`onnx_lobs.evaluation.bound.changes.Changes` takes them. Not modified.
    batches, provider, tick
        The inputs; full name of an execution provider; what is told of every batch.

    Returns
    -------
    tuple of BoundRecord
        Of every floating output that pruning can change, for these inputs alone. Up to the
        rounding of the networks' own arithmetic, ``bound >= measured``.
    dict of float
        Predicted sum of squared changes over the sum of squares of all floating outputs, by the
        layer that alone has its error, and for WHOLE with all errors. Without WHOLE where a change
        is hidden, in a branch for one; empty where no output has a norm.

    Raises
    ------
    ModelError, InferenceError
        When onnxruntime cannot load or run one of the networks.

    Notes
    -----
    Cost: a forward pass of the pruned network, whose changed layers run twice, two of the dense
    one, and on the first batches one more for each layer, until MOST_RUNS samples were run; and the
    norms, rows² columns for a matrix and up to 128 times that for a convolution. Memory: both
    networks, changed weights twice, and the outputs of all changed layers for one batch.
    """
    changes = Changes(dense, pruned, layers)
    paths, pruned_run = ErrorPaths(changes), PrunedRun(changes, provider)
    dense_run: DenseRun | None = None
    bounds, predictions = _Bounds(changes), _Predictions(changes)
    for feeds in batches:
        after, errors = pruned_run.run(feeds)
        if dense_run is None:
            dense_run = DenseRun(changes, errors, provider)
        before, sizes, made = dense_run.run(feeds, {})
        bounds.add(before, after, errors, *paths.follow(sizes, made))
        predictions.add(before, dense_run, feeds, errors)
        tick(1)
    return bounds.records(), predictions.ratios()


class _Bounds:
    """Sums by output of squared changes, squares, and squared bounds: all layers', then each's."""

    def __init__(self, changes: Changes) -> None:
        self._layers = [*dict.fromkeys(changes.layers.values())]
        owners = [own == name for name in self._layers for own in changes.layers.values()]
        self._owners = np.reshape(owners, (len(self._layers), len(changes.layers)))
        self._sums = defaultdict[str, FloatArray](lambda: np.zeros(3 + len(self._layers)))
        self._missing: Reasons = {}

    def add(
        self, before: Values, after: Values, errors: Values, factors: Factors, missing: Reasons
    ) -> None:
        lengths = np.array([np.linalg.norm(e.astype(np.float64)) for e in errors.values()])
        self._missing |= missing
        for name in (name for name in before if name in factors or name in missing):
            parts = self._owners @ (factors.get(name, 0.0) * lengths)
            squares = _squares(before[name], after[name])
            self._sums[name] += [*squares, parts.sum() ** 2, *parts**2]

    def records(self) -> tuple[BoundRecord, ...]:
        return tuple(self._record(name, *sums) for name, sums in self._sums.items())

    def _record(self, name: str, change: float, energy: float, *bounds: float) -> BoundRecord:
        measured, total, *alone = (_ratio(square, energy) for square in (change, *bounds))
        reasons = self._missing.get(name, ())
        if total is None and not reasons:
            reasons = ("the bound, or the dense output's sum of squares, is no finite number",)
        if reasons:
            return BoundRecord(name, None, measured, {}, reasons)
        ratios = ((layer, one or 0.0) for layer, one in zip(self._layers, alone, strict=True))
        layers = dict(sorted(ratios, key=lambda item: -item[1]))
        return BoundRecord(name, total, measured, layers, ())


class _Predictions:
    """Sums by layer of the outputs' squared changes, and of their squares."""

    def __init__(self, changes: Changes) -> None:
        self._changes, self._left = changes, MOST_RUNS
        self._sums = defaultdict[str, FloatArray](lambda: np.zeros(2))

    def add(self, before: Values, network: DenseRun, feeds: Feeds, errors: Values) -> None:
        owners = self._changes.layers
        layers = dict.fromkeys(owners.values()) if self._left > 0 else {}
        self._left -= len(layers) * max((len(x) for x in feeds.values() if x.ndim), default=1)
        for layer in (*layers, *(() if self._changes.hidden else (WHOLE,))):
            chosen = {n: e for n, e in errors.items() if layer in (WHOLE, owners[n])}
            parts = {n: np.asarray(STEP * e, e.dtype) for n, e in chosen.items()}
            after, *_ = network.run(feeds, parts)
            for name, value in before.items():
                # what is infinite in either network, a mask for one, is left out
                self._sums[layer] += _squares(value, after[name], is_masked=True)

    def ratios(self) -> dict[str, float]:
        found = {name: _ratio(change / STEP**2, own) for name, (change, own) in self._sums.items()}
        return {name: ratio for name, ratio in found.items() if ratio is not None}


def _squares(before: Array, after: Array, *, is_masked: bool = False) -> FloatArray:
    """Return the sums of squared changes and of squares, infinite where there is none."""
    pair = pair_up(before, after) if before.shape == after.shape else None
    if pair is None or (any(pair.nonfinite) and not is_masked):
        return np.full(2, math.inf)
    squares = np.square([pair.after - pair.before, pair.before])
    return np.asarray(squares.reshape(2, -1).sum(axis=1))


def _ratio(change: float, energy: float) -> float | None:
    ratio = float(change / energy) if 0 < energy < math.inf else math.inf
    return ratio if math.isfinite(ratio) else None
