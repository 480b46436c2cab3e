"""Measures what a run did to the network: its score before, its outputs and score after."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.calibration.held_out import held_every, is_held_out
from onnx_lobs.data.batches import Batches
from onnx_lobs.data.synthetic import guesses
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.evaluation.changed_samples import SampleTally
from onnx_lobs.evaluation.class_scores import scores_by_class
from onnx_lobs.evaluation.remembered import RememberedOutputs
from onnx_lobs.evaluation.score import MeasuredScore
from onnx_lobs.evaluation.scoring import score_record
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import ClassScore, Details, LayerRecord, OutputRecord
from onnx_lobs.run.channels.reduced import ReducedProduct
from onnx_lobs.run.judge import judge_outputs
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup

NOTHING_HELD = (
    "the output error is not known: all samples came as one, and it was fitted, so that none is "
    "left to judge by; give more samples, some hundred if you can"
)


@dataclass(frozen=True, eq=False)
class Reference:
    """What the network that is compared with gives; the same for all that a run makes.

    Parameters
    ----------
    score
        Its score, or None.
    outputs
        What it gives on the batches.
    """

    score: MeasuredScore | None
    outputs: RememberedOutputs


def score_dense(
    setup: Setup, networks: Networks, progress: Progress, log: Log
) -> MeasuredScore | None:
    """Score the dense network, so that a score that cannot be had is known before the work.

    Data found beside the model are left with a warning when they cannot be scored.

    Raises
    ------
    ConfigError
        When a limit on the drop needs them.
    DataError, ScoreError
        When data that were given, or the score that was named, cannot be had.
    """
    scoring = setup.scoring
    if scoring is None:
        return None
    progress.start("scoring", scoring.n_batches)
    try:
        return scoring.measure(networks.open(networks.reference), tick=progress.advance)
    except DataError as error:
        if scoring.is_asked:
            raise
        reason = f"the labelled data found beside the model were not used: {error}"
        if setup.config.max_drop is not None:
            raise ConfigError(f"max drop needs a score, and there is none: {reason}") from error
        log.warn(reason)
        return None


def evaluate_run(
    setup: Setup,
    networks: Networks,
    records: Mapping[str, LayerRecord],
    reference: Reference,
    scratch: Scratch,
    progress: Progress,
    log: Log,
    *,
    others: bool = True,
    products: Sequence[ReducedProduct] = (),
) -> tuple[OutputRecord, Details]:
    """Return the output error on samples that were held out, and the score beside the dense one's.

    And which samples and classes changed most by the delivered fit.

    Of few samples each is held out by another fit: :mod:`onnx_lobs.run.other_fits`. With one batch
    nothing is held out; then no error is known, and a warning says so.

    Parameters
    ----------
    records
        Of the layers, by their keys.
    reference
        What it is compared with; without a score none is measured.
    scratch
        Where values of other fits go that do not fit memory.
    others
        Whether few samples are judged by other fits too: not where weights moved behind pruning,
        which no other fit's did.
    products
        Products of queries and keys that lost dimensions.

    Raises
    ------
    ConfigError
        When there is a limit on the output error, which cannot be measured on this network.
    """
    scoring, before = setup.scoring, reference.score
    tally = _sample_tally(setup.batches)
    pruned = networks.open_judged(networks.pruned)
    with guesses(setup.batches):
        judged = reference.outputs, pruned.in_front
        output = judge_outputs(
            setup, networks, judged, records, scratch, progress, tally.add,
            others=others, products=products,
        )  # fmt: skip
    if not output.n_held:
        log.warn(NOTHING_HELD)
    if output.error is None and setup.config.max_output_error is not None:
        why = "; ".join(output.notes) or "no output is floating"
        raise ConfigError(f"max output error needs an output error, and there is none: {why}")
    log.warn(*output.notes)
    classes: tuple[ClassScore, ...] = ()
    if scoring is not None and before is not None:
        progress.start("scoring", scoring.n_batches)
        with_dense = scoring.score.needs_reference
        dense = networks.open_judged(networks.reference) if with_dense else None
        after = scoring.measure(pruned, dense, progress.advance)
        score = score_record(scoring.score, before, after)
        if scoring.test is not None:
            classes = scores_by_class(scoring.test.labels, before, after)
        output = dataclasses.replace(output, score=score)
    return output, Details((), tally.result(), tally.n_seen, classes)


def _sample_tally(batches: Batches) -> SampleTally:
    """Return what finds the samples that changed most, of fitted batches and then held out ones."""
    every, ends = held_every(batches), np.cumsum(batches.sizes)
    order = sorted(range(len(batches)), key=lambda i: is_held_out(i, every))
    places = np.concatenate([np.arange(ends[i] - batches.sizes[i], ends[i]) for i in order])
    numbers = places if batches.numbers is None else batches.numbers[places]
    labels = None if batches.labels is None else batches.labels[places]
    return SampleTally(numbers, labels, batches.files)
