"""Records what a page shows beside the figures: weights, samples and classes that changed most."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class Histogram:
    """How many weights of a layer have which value, before and after; zeros are left out.

    ``before`` and ``after`` are counts in bins of one width, from `low` to `high`; the few weights
    beyond are in the first and the last one. Of very large layers every k-th weight is counted.
    """

    low: float
    high: float
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True, repr=False)
class KeptMap:
    """Where a layer's matrix kept weights, in cells.

    ``shares`` has a byte for each cell, row by row: 255 times the share of its weights that are
    not zero, rounded up, so that only a cell without any is 0.
    """

    rows: int
    columns: int
    shares: bytes


@dataclass(frozen=True)
class LayerPicture:
    """One layer's weights: its matrix (groups, rows, columns), their values, where they stand."""

    name: str
    shape: tuple[int, int, int]
    histogram: Histogram
    kept: KeptMap


@dataclass(frozen=True, repr=False)
class ChangedSample:
    """A sample whose outputs changed much.

    Parameters
    ----------
    index
        Its place in the data, from 0.
    change
        Sum of its squared changes over the mean of the samples' sums of squares: the mean of this
        over all samples is the output error.
    label
        Its label in words, where the data have labels.
    before, after
        What the first output that chooses one of several classes chose; None without such.
    file
        Its name, where it is a file of its own.
    thumbnail
        A PNG of an input that is a picture; None without such.
    """

    index: int
    change: float
    label: str | None = None
    before: int | None = None
    after: int | None = None
    thumbnail: bytes | None = None
    file: str | None = None


@dataclass(frozen=True)
class ClassScore:
    """The score of the samples of one label, before and after, and how many they are."""

    label: int
    n: int
    before: float
    after: float

    @property
    def drop(self) -> float:
        """What was lost."""
        return self.before - self.after


@dataclass(frozen=True)
class Details:
    """What a page shows beside the figures.

    Parameters
    ----------
    layers
        Those with pictures: the largest of the pruned ones, in the order of the model.
    samples
        Those whose outputs changed most, the largest change first.
    n_samples
        Out of so many.
    classes
        Scores by label, the largest drop first; empty where labels are no classes.
    """

    layers: tuple[LayerPicture, ...] = ()
    samples: tuple[ChangedSample, ...] = ()
    n_samples: int = 0
    classes: tuple[ClassScore, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return plain values, without the pictures, which are for pages."""
        record = dataclasses.asdict(self)
        for entry in record["layers"]:
            del entry["kept"]
        for entry in record["samples"]:
            del entry["thumbnail"]
        for entry, score in zip(record["classes"], self.classes, strict=True):
            entry["drop"] = score.drop
        return record
