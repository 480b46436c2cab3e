"""What pruning did to the network's outputs: error, cosine, agreement, greatest change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.data.batches import Batches
from onnx_lobs.evaluation.samples import ComparedOutput, agreements, cosines, pair_up
from onnx_lobs.graph.model import is_float
from onnx_lobs.graph.run.staged import Runnable

Outputs = Mapping[str, Array]
Watch = Callable[[Outputs, Outputs, Mapping[str, Array], int], None]


@dataclass(frozen=True)
class OutputChange:
    """How one output of the pruned network differs from the dense one's.

    Parameters
    ----------
    name, shape
        The output; its shape on the first batch.
    error
        Sum of squared changes over the sum of squares.
    cosine
        Cosine similarity of the samples' values, mean over the samples.
    agreement
        Share of positions with the same choice (:func:`onnx_lobs.evaluation.samples.choices`),
        mean over the samples. None for outputs that choose nothing.
    max_change, largest
        Greatest absolute change, and greatest absolute value of the dense network.
    note
        Why figures are missing, or what they leave out.
    """

    name: str
    shape: tuple[int, ...]
    error: float | None = None
    cosine: float | None = None
    agreement: float | None = None
    max_change: float | None = None
    largest: float | None = None
    note: str = ""


@dataclass(frozen=True)
class NetworkChange:
    """How all outputs differ.

    ``error`` is the sum of squared changes over the sum of squares of all floating outputs;
    None when there is none, or one of them cannot be compared, as its note says.
    """

    outputs: tuple[OutputChange, ...]
    error: float | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the outputs' notes say, with the outputs' names."""
        return tuple(f"output {o.name!r}: {o.note}" for o in self.outputs if o.note)


def output_change(
    reference: Iterable[Outputs],
    pruned: Runnable,
    batches: Batches,
    tick: Callable[[int], None] = lambda n: None,
    watch: Watch = lambda before, after, feeds, size: None,
) -> NetworkChange:
    """Compare a pruned network's outputs with the dense network's on the same batches.

    Parameters
    ----------
    reference
        The dense network's outputs of each batch: a list, or
        :class:`onnx_lobs.evaluation.score.DenseOutputs`, which runs it anew.
    pruned
        The network to be judged.
    batches
        Data that fit it.
    tick
        Told of every batch.
    watch
        Shown every batch: the outputs of both, what was fed, the number of samples.

    Notes
    -----
    Cost: one forward pass, and what `reference` costs. NaN and infinities that both networks
    give in the same place are left out, with a note; elsewhere the output has no figures.
    """
    tally = ChangeTally()
    for before, feeds, size in zip(reference, batches, batches.sizes, strict=True):
        after = pruned.run(feeds)
        tally.add(before, after, size)
        watch(before, after, feeds, size)
        tick(1)
    return tally.result()


class ChangeTally:
    """Collects the outputs of two networks batch by batch."""

    def __init__(self) -> None:
        self._outputs: dict[str, _OutputTally] = {}

    def add(self, before: Outputs, after: Outputs, size: int) -> None:
        """Count a batch of `size` samples; the arrays are not modified."""
        for name, value in before.items():
            self._outputs.setdefault(name, _OutputTally(name)).add(value, after[name], size)

    def result(self) -> NetworkChange:
        """Return what was collected."""
        tallies = self._outputs.values()
        floating = [tally for tally in tallies if tally.is_floating]
        error = None
        if floating and not any(tally.failure for tally in floating):
            error = _ratio(sum(t.change for t in floating), sum(t.energy for t in floating))
        return NetworkChange(tuple(tally.result() for tally in tallies), error)


class _OutputTally:
    """The running sums of one output."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shape: tuple[int, ...] | None = None
        self.is_floating = False
        self.failure = ""
        self.change = self.energy = self.max_change = self.largest = 0.0
        self._nonfinite = np.zeros(2, int)
        self._clashes = 0
        self._cosines: list[FloatArray] = []
        self._agreements: list[FloatArray] = []

    def add(self, before: object, after: object, size: int) -> None:
        if not isinstance(before, np.ndarray) or not isinstance(after, np.ndarray):
            self.failure = f"not compared: a {type(before).__name__}, no tensor"
            return
        self.shape = before.shape if self.shape is None else self.shape
        self.is_floating |= is_float(before.dtype)
        agreed = agreements(before, after, size)
        if agreed is not None:
            self._agreements.append(agreed)
        if before.shape != after.shape:
            self.failure = (
                f"its shape changed from {before.shape} to {after.shape}, because its size "
                "depends on values; no error can be given"
            )
        elif is_float(before.dtype) and is_float(after.dtype):
            self._add_floats(pair_up(before, after), size)
        elif agreed is None:
            self.failure = f"not compared: {before.dtype} and {after.dtype}"

    def _add_floats(self, pair: ComparedOutput, size: int) -> None:
        change = pair.after - pair.before
        self.change += float(np.square(change).sum())
        self.energy += float(np.square(pair.before).sum())
        self.max_change = max(self.max_change, float(np.abs(change).max(initial=0.0)))
        self.largest = max(self.largest, float(np.abs(pair.before).max(initial=0.0)))
        self._cosines.append(cosines(pair, size))
        self._nonfinite += pair.nonfinite
        self._clashes += int(pair.clash.sum())
        if self._clashes:
            before, after = self._nonfinite
            self.failure = (
                f"{before} values of the dense network and {after} of the pruned one are NaN or "
                f"infinite, {self._clashes} of them not in both alike; no error can be given"
            )

    def result(self) -> OutputChange:
        change = OutputChange(
            self.name, self.shape or (), agreement=_mean(self._agreements), note=self.failure
        )
        if self.failure or not self.is_floating:
            return change
        n_left_out = int(self._nonfinite[0])
        note = f"{n_left_out} values are NaN or infinite in both networks and left out"
        return OutputChange(
            name=change.name,
            shape=change.shape,
            error=_ratio(self.change, self.energy),
            cosine=_mean(self._cosines),
            agreement=change.agreement,
            max_change=self.max_change,
            largest=self.largest,
            note=note if n_left_out else "",
        )


def _mean(parts: list[FloatArray]) -> float | None:
    values = np.concatenate(parts) if parts else np.zeros(0)
    return float(values.mean()) if values.size else None


def _ratio(change: float, energy: float) -> float | None:
    """Return the relative error; None for a change of nothing but zeros."""
    return change / energy if energy else 0.0 if change == 0 else None
