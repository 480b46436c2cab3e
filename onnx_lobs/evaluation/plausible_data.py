"""Looks at samples, and at what the dense network makes of them, for signs of wrong data.

A network hardly ever gives the same outputs whatever it is fed, nor is it wholly sure of every
sample. Where it does, its inputs are often not scaled as they were in training: 0 to 255 in place
of -1 to 1, say. Pruning on such data succeeds, with an error next to nothing, and spoils the
network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.data.batches import Batches
from onnx_lobs.evaluation.judged_network import JudgedNetwork
from onnx_lobs.evaluation.samples import by_sample
from onnx_lobs.graph.model import is_float

ENOUGH = 64  # samples that the network is run on
LEAST_SURE = 16  # samples of which a network may happen to be sure of all
SAME = 1e-5  # of the largest value: outputs that differ by less are the same in float32
NEARLY_0, NEARLY_1 = 1e-13, 1 - 1e-7  # scores 30 apart; 1 to the last digit of float32
NEARLY_ALL = 0.99  # of the samples


def doubtful_samples(batches: Batches) -> list[str]:
    """Return a warning where there is one sample only, or all are the same.

    Cost: as a rule the first batch is read; more where the samples are alike so far.
    """
    n = batches.n_samples
    if n == 1:
        return [
            f"there is one sample ({batches.origin}): the network is fitted to that alone, and "
            "may be wrong on any other; give some hundred"
        ]
    if not _all_alike(batches):
        return []
    feeds = next(iter(batches))
    zero = all(not np.any(value) for value in feeds.values() if value.dtype.kind in "iufb")
    word = "zero" if zero else "the same"
    return [
        f"all {n} samples are {word} ({batches.origin}): they tell no more than one does, and the "
        "network may be wrong on any other; check how they were made"
    ]


def _all_alike(batches: Batches) -> bool:
    """Whether every sample is the first one again."""
    first: dict[str, Array] = {}
    for feeds, size in zip(batches, batches.sizes, strict=True):
        for name, value in feeds.items():
            rows = value if value.ndim and len(value) == size else value[None]
            one = first.setdefault(name, rows[0])
            if rows.shape[1:] != one.shape or not np.all(rows == one):
                return False
    return True


def doubtful_outputs(
    network: JudgedNetwork, batches: Batches, most: int | None = None
) -> list[str]:
    """Return a warning where the outputs hardly depend on the samples, or are all 0 or 1.

    Parameters
    ----------
    network
        The dense one.
    batches
        Of which so many are looked at as hold ENOUGH samples.
    most
        Batches that are looked at, at the most.

    Notes
    -----
    Cost: a forward pass over these. Only floating outputs with a part for each sample count.
    """
    seen: dict[str, _SeenOutput] = {}
    ranges: dict[str, tuple[float, float]] = {}
    ends = {final.output for final in network.finals if final.activation.op != "LogSoftmax"}
    n = 0
    for feeds, size in zip(batches.pick(range(most or len(batches))), batches.sizes, strict=False):
        outputs, judged = network.run_both(feeds)
        for name, value in judged.items():
            if isinstance(value, np.ndarray) and is_float(value.dtype):
                ended = outputs[name] if name in ends else None
                seen.setdefault(name, _SeenOutput()).add(value, ended, size)
        _widen(ranges, feeds)
        n += size
        if n >= ENOUGH:
            break
    return list(_doubts(seen, ranges, n))


def _doubts(
    seen: Mapping[str, _SeenOutput], ranges: Mapping[str, tuple[float, float]], n: int
) -> Iterator[str]:
    """Yield what is wrong with outputs on `n` samples."""
    known = {name: output for name, output in seen.items() if output.is_known}
    advice = (
        "check that the inputs are scaled and laid out as in training (0 to 255, 0 to 1, -1 to 1; "
        f"channels first or last): here {_words(ranges)}"
    )
    if n > 1 and known and all(output.is_constant for output in known.values()):
        yield (
            f"the dense network's outputs are the same for all of {n} samples, so nothing that "
            f"pruning does can be seen in them; {advice}"
        )
    elif n >= LEAST_SURE:
        for name, output in known.items():
            if output.n_sure >= NEARLY_ALL * n:
                yield (
                    f"the dense network's output {name!r} is 0 or 1 to the last digit for "
                    f"{output.n_sure} of {n} samples, more than a network is sure of as a rule; "
                    f"{advice}"
                )


@dataclass
class _SeenOutput:
    """One output over the batches: how far it moves, and of how many samples it is sure."""

    is_known: bool = True
    first: FloatArray = field(default_factory=lambda: np.zeros(0))
    largest: float = 0.0
    moved: float = 0.0
    n_sure: int = 0

    @property
    def is_constant(self) -> bool:
        """Whether no sample differs from the first."""
        return self.moved <= SAME * self.largest

    def add(self, judged: Array, ended: Array | None, size: int) -> None:
        """Count a batch: what the output is judged by, and where it ends in 0 to 1, itself."""
        rows = by_sample(judged.astype(np.float64), size)
        if not self.first.size:
            self.first = rows[0] if len(rows) else self.first
        if len(rows) != size or rows.shape[1:] != self.first.shape or not rows.size:
            self.is_known = False
        if not np.isfinite(rows).all():  # a class that is ruled out by -inf, or what is told apart
            self.is_known = False
        if not self.is_known:
            return
        self.largest = max(self.largest, float(np.abs(rows).max()))
        self.moved = float(np.maximum(self.moved, np.abs(rows - self.first).max()))
        if ended is not None:
            shares = by_sample(ended.astype(np.float64), size)
            is_sure = ((shares < NEARLY_0) | (shares > NEARLY_1)).all(axis=1)
            self.n_sure += int(is_sure.sum())


def _widen(ranges: dict[str, tuple[float, float]], feeds: Mapping[str, Array]) -> None:
    """Put the least and the largest value of each input into `ranges`."""
    for name, value in feeds.items():
        if value.size and (value.dtype.kind in "iu" or is_float(value.dtype)):
            low, high = ranges.get(name, (np.inf, -np.inf))
            ranges[name] = min(low, float(value.min())), max(high, float(value.max()))


def _words(ranges: Mapping[str, tuple[float, float]]) -> str:
    words = (f"{name!r} goes from {low:.4g} to {high:.4g}" for name, (low, high) in ranges.items())
    return ", ".join(words) or "no input is a number"
