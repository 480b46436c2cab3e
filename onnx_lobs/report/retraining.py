"""Records a retraining, and shows it as text and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from onnx_lobs.report.numbers import format_percent, format_score
from onnx_lobs.report.parts import warning_panel
from onnx_lobs.report.record import SCHEMA
from onnx_lobs.report.record.as_json import to_json
from onnx_lobs.report.words import aim_words, best_words


@dataclass(frozen=True)
class RetrainedScore:
    """A score of the dense network (None: it was not given), the pruned and the retrained one."""

    name: str
    dense: float | None
    before: float
    after: float
    after_error: float | None
    n: int
    is_fraction: bool


@dataclass(frozen=True)
class Retraining:
    """What was retrained, and what came of it.

    Parameters
    ----------
    model, data
        Where both come from.
    samples, held_samples
        Samples that were learnt from, and held out.
    towards
        ``labels``, ``classes`` or ``outputs``.
    move
        ``biases``, ``observed`` or ``all``.
    layers, weights, biases
        How many layers moved, with how many weights, and how many biases and scales.
    zeros, of_weights
        Zeros among the weights of all layers that can move.
    zeros_before
        How many there were before, all of which stayed; None: as many.
    steps, best
        Steps taken, and after which the model is the one returned; 0: it is as it was.
    losses
        On the held-out samples: step and loss, from step 0 on.
    scores
        On test data, if there are any.
    seconds
        Of the whole run.
    warnings
        What the reader had better know.
    output, file_bytes
        The file written, and its size; None where there is none.
    command
        The words that repeat it.
    """

    model: str
    data: str
    samples: int
    held_samples: int
    towards: str
    move: str
    layers: int
    weights: int
    biases: int
    zeros: int
    of_weights: int
    steps: int
    best: int
    losses: tuple[tuple[int, float], ...]
    scores: tuple[RetrainedScore, ...]
    seconds: float
    zeros_before: int | None = None
    warnings: tuple[str, ...] = ()
    output: str | None = None
    file_bytes: int | None = None
    command: tuple[str, ...] = ()
    schema: int = SCHEMA

    @property
    def loss_before(self) -> float:
        """Loss on the held-out samples before."""
        return self.losses[0][1]

    @property
    def loss_after(self) -> float:
        """Loss on the held-out samples of the model that is returned."""
        return dict(self.losses)[self.best]

    def to_json(self) -> str:
        """Return the record as JSON."""
        return to_json(dataclasses.asdict(self))

    def to_html(self) -> str:
        """Return the record as a page of HTML that needs nothing else.

        Raises
        ------
        ConfigError
            When jinja2, which the extra ``report`` brings, is not installed.
        """
        from onnx_lobs.report.html.retraining_page import retraining_page

        return retraining_page(self)

    def to_markdown(self) -> str:
        """Return the record as Markdown."""
        from onnx_lobs.report.markdown import retraining_markdown

        return retraining_markdown(self)


def render_retraining(record: Retraining) -> RenderableType:
    """Return a retraining as lines of text.

    Parameters
    ----------
    record
        Not modified.
    """
    lines = [retraining_title(record)]
    lines += [f"{label:<11} {words}" for label, words in retraining_rows(record)]
    return Group(*map(Text, lines), *warning_panel(record.warnings))


def retraining_title(record: Retraining) -> str:
    """Return what was retrained, and towards what."""
    return f"retrained {record.model} towards {aim_words(record.towards)}"


def retraining_sentence(record: Retraining) -> str:
    """Return the title as a sentence; names of files keep their letters."""
    title = retraining_title(record)
    return f"{title[0].upper()}{title[1:]}."


def retraining_rows(record: Retraining) -> Iterator[tuple[str, str]]:
    """Yield what is said of a retraining: labels, and values in words."""
    yield (
        "samples",
        f"{record.samples:,} learnt from, {record.held_samples:,} held out, of {record.data}",
    )
    yield (
        "moved",
        f"{record.weights:,} weights of {record.layers} layers, {record.biases:,} "
        "biases and scales",
    )
    share = format_percent(record.zeros, record.of_weights)
    yield "zeros", f"{record.zeros:,} of {record.of_weights:,} weights, {share}: {_stay(record)}"
    yield "steps", f"{record.steps}; {best_words(record.best)}"
    yield "held out", f"loss {record.loss_before:.4g} -> {record.loss_after:.4g}"
    for score in record.scores:
        yield score.name, _score_words(score)
    yield "seconds", f"{record.seconds:.1f}"
    if record.output is not None:
        yield "written to", f"{record.output}, {record.file_bytes:,} bytes"


def _stay(record: Retraining) -> str:
    """Return whether zeros are those that were there."""
    before = record.zeros if record.zeros_before is None else record.zeros_before
    return "all stay" if before == record.zeros else f"{before:,} before, all of which stay"


def _score_words(score: RetrainedScore) -> str:
    """Return the three scores in a line."""
    before = format_score(score.before, None, is_fraction=score.is_fraction)
    after = format_score(score.after, score.after_error, is_fraction=score.is_fraction)
    words = f"{before} -> {after}"
    if score.dense is not None:
        words += f", dense {format_score(score.dense, None, is_fraction=score.is_fraction)}"
    return f"{words}, of {score.n:,} samples" if score.n else words
