"""Prepares the parts of pages that runs and evaluations share: samples, classes, tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onnx_lobs.report.html.figures import png_source
from onnx_lobs.report.html.page_table import Cell, PageTable, headings, number, text
from onnx_lobs.report.numbers import (
    format_bytes,
    format_change,
    format_count,
    format_error,
    format_percent,
    format_score,
)
from onnx_lobs.report.record import ChangedSample, ClassScore, Details, ScoreRecord
from onnx_lobs.report.words import MOST_CLASSES, choice_words, sample_words, score_label


@dataclass(frozen=True)
class Tile:
    """A figure that is seen first: its name, its value, what it was before."""

    name: str
    value: str
    was: str = ""


@dataclass(frozen=True)
class ShownSample:
    """A sample in words, and the address of its picture."""

    name: str
    label: str
    choice: str
    change: str
    source: str


@dataclass(frozen=True)
class SamplesView:
    """The samples of a page, with pictures or as a table."""

    samples: tuple[ShownSample, ...]
    n_samples: str
    has_pictures: bool
    grid: PageTable


@dataclass(frozen=True)
class ClassesView:
    """The classes of a page: what is said of them, and their table."""

    words: str
    grid: PageTable


def samples_view(details: Details) -> SamplesView:
    """Return the samples that changed most, as a page shows them."""
    shown = tuple(map(_shown, details.samples))
    rows = tuple(
        (
            _sample_cell(sample),
            text(one.label),
            text(one.choice),
            number(one.change, sample.change),
        )
        for one, sample in zip(shown, details.samples, strict=True)
    )
    heads = headings("sample|label|choice|change", ("label", "choice"))
    has_pictures = any(one.source for one in shown)
    n_samples = f"{details.n_samples:,}"
    return SamplesView(shown, n_samples, has_pictures, PageTable("samples", heads, rows))


def _sample_cell(sample: ChangedSample) -> Cell:
    """Return the cell that names a sample, which sorts by its place in the data where it is it."""
    words = sample_words(sample)
    return text(words) if sample.file else number(words, sample.index)


def _shown(sample: ChangedSample) -> ShownSample:
    return ShownSample(
        name=sample_words(sample) if sample.file else f"sample {sample.index:,}",
        label=sample.label or "",
        choice=choice_words(sample),
        change=format_error(sample.change),
        source="" if sample.thumbnail is None else png_source(sample.thumbnail),
    )


def classes_view(details: Details) -> ClassesView | None:
    """Return the classes that lost most, as a page shows them; None where there are none."""
    classes = details.classes
    if len(classes) < 2:
        return None
    shown = classes[:MOST_CLASSES]
    words = f"The score by label, of {len(classes):,} classes; the largest drop first."
    if len(shown) < len(classes):
        words += f" The first {len(shown)} are shown; the JSON record has all."
    heads = headings("class|samples|before, %|after, %|drop, points")
    return ClassesView(words, PageTable("classes", heads, tuple(map(_class_row, shown))))


def _class_row(one: ClassScore) -> tuple[Cell, ...]:
    return (
        number(str(one.label), one.label),
        number(f"{one.n:,}", one.n),
        *(number(f"{100 * x:.1f}", x) for x in (one.before, one.after, one.drop)),
    )


def zeros_tile(zeros: int, weights: int) -> Tile:
    """Return the share of zeros as a tile."""
    return Tile("zeros", format_percent(zeros, weights), f"{zeros:,} of {weights:,} weights")


def error_tiles(error: float | None) -> Iterator[Tile]:
    """Yield the output error, if it is known."""
    if error is not None:
        yield Tile("output error", format_error(error), "0 is unchanged")


def score_tile(score: ScoreRecord) -> Tile:
    """Return a score as a tile."""
    name = score_label(score.name)
    before, after = (
        format_score(x, None, is_fraction=score.is_fraction) for x in (score.before, score.after)
    )
    return Tile(name, after, f"before {before}")


def work_tiles(work: tuple[int, int] | None) -> Iterator[Tile]:
    """Yield the multiplications (before, after), if they are known."""
    if work is not None:
        before, after = map(format_count, work)
        yield Tile("multiplications", after, f"before {before}, a sample")


def size_tiles(
    file_bytes: tuple[int, int] | None, gzip_bytes: tuple[int, int] | None
) -> Iterator[Tile]:
    """Yield the sizes that are known as tiles."""
    for name, sizes in (("file", file_bytes), ("file, gzipped", gzip_bytes)):
        if sizes is not None:
            words = f"before {format_bytes(sizes[0])}, {format_change(*sizes)}"
            yield Tile(name, format_bytes(sizes[1]), words)
