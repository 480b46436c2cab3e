"""Makes one run: zeros are chosen, every layer is solved, the network is corrected and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from onnx_lobs.arrays import RealArray
from onnx_lobs.calibration.held_out import held_every
from onnx_lobs.data.synthetic import guesses
from onnx_lobs.graph.run.arena import release_memory
from onnx_lobs.layers.layer import Layer
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import Store
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import (
    BlocksRecord,
    CorrectionRecord,
    Details,
    DroppedRecord,
    LayerRecord,
    OutputRecord,
    RoundRecord,
)
from onnx_lobs.run.channels.choice import ChannelChoice
from onnx_lobs.run.channels.remove import without_channels
from onnx_lobs.run.correction.correct import correct
from onnx_lobs.run.deliver import stamp
from onnx_lobs.run.log import Log
from onnx_lobs.run.modes import corrects
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.outcome import Reference, evaluate_run
from onnx_lobs.run.resume.state import Resume
from onnx_lobs.run.row_tables import round_tables
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.solve_all import solve_all
from onnx_lobs.run.stored_form import form_bytes
from onnx_lobs.run.zeros import Choice


@dataclass(frozen=True)
class Run:
    """One whole run: what it went by, what it changed, and its records.

    Parameters
    ----------
    setup, networks
        What it went by, and its networks, which are pruned.
    choice
        Its zeros.
    records
        Of its layers, by their keys and in graph order.
    correction, output
        Records of what was corrected behind them, and of the whole network.
    size
        Bytes of the file, where there is a limit on them.
    log
        What it told; a later step may add to it.
    details
        Which samples and classes changed most.
    scales
        By the key of the layer or table: those of which its weights are multiples.
    rounds
        Retrainings behind pruning, the last one of this run.
    blocks
        What fitting spans brought; None where they were not.
    dropped
        Empty channels that its result lacks; None: none were looked for.
    """

    setup: Setup
    networks: Networks
    choice: Choice
    records: Mapping[str, LayerRecord]
    correction: CorrectionRecord | None
    output: OutputRecord
    size: int | None
    log: Log
    details: Details = field(default_factory=Details)
    scales: Mapping[str, RealArray] = field(default_factory=dict)
    rounds: tuple[RoundRecord, ...] = ()
    blocks: BlocksRecord | None = None
    dropped: DroppedRecord | None = None


@dataclass(frozen=True)
class Pruning:
    """What a run did to its networks, before anything is judged.

    Parameters
    ----------
    part
        The run with the layers that were solved: all, or those that read channels which go.
    choice
        Its zeros. Channels that go are columns of zeros so far.
    records, scales
        As in :class:`Run`.
    correction
        Record of what was corrected behind the layers.
    warnings
        What its cache tells.
    """

    part: Setup
    choice: Choice
    records: Mapping[str, LayerRecord]
    correction: CorrectionRecord | None
    scales: Mapping[str, RealArray]
    warnings: tuple[str, ...]


def run_once(
    setup: Setup,
    networks: Networks,
    choose: Callable[[], Choice],
    reference: Reference,
    scratch: Scratch,
    progress: Progress,
) -> Run:
    """Prune the networks and tell what it did to them.

    Parameters
    ----------
    networks
        Not pruned yet; `pruned` and `result` change.
    choose
        Chooses the zeros. Asked unless an earlier run left them in the cache.
    reference
        What the result is compared with.

    Raises
    ------
    ConfigError, InferenceError, SolverError
        As its steps do.
    """
    log = Log()
    made = prune_networks(setup, networks, choose, scratch, progress, log)
    release_memory()  # before two networks are loaded
    output, details = evaluate_run(
        made.part, networks, made.records, reference, scratch, progress, log,
        products=made.choice.products,
    )  # fmt: skip
    channels = made.choice.channels
    if channels is not None:
        networks = without_channels(setup, networks, channels)
    result = networks.result
    stamp(result.proto, setup)
    size = None
    if setup.config.max_bytes is not None:
        size = form_bytes(setup, result.proto, result.folder, made.scales)
    log.warn(*made.warnings)
    return Run(
        setup, networks, made.choice, made.records, made.correction, output, size, log, details,
        made.scales,
    )  # fmt: skip


def prune_networks(
    setup: Setup,
    networks: Networks,
    choose: Callable[[], Choice],
    scratch: Scratch,
    progress: Progress,
    log: Log,
) -> Pruning:
    """Choose the zeros, solve every layer and correct; `pruned` and `result` change.

    Parameters are those of :func:`run_once`, and errors too.
    """
    resume = Resume(setup, networks)
    with guesses(setup.batches):
        choice = resume.choice()
        if choice is None:
            choice = choose()
            resume.keep_choice(choice)
        known = resume.known(choice.zeros)
        part = setup if choice.channels is None else _readers(setup, choice.channels)
        for each in choice.products:
            each.write(networks.pruned)
            each.write(networks.result)
        solved = solve_all(part, networks, known, scratch, progress, log)
        release_memory()  # of the solver
        correction = _correct(setup, networks, solved.changed, scratch, progress, log)
    scales = {**solved.scales, **round_tables(setup, networks, log)}
    return Pruning(part, choice, solved.records, correction, scales, resume.warnings)


def judged_again(
    run: Run, networks: Networks, reference: Reference, scratch: Scratch, progress: Progress
) -> Run:
    """Return a run with what its network does after weights moved behind pruning.

    Parameters
    ----------
    run
        The run as it was.
    networks
        Its networks now.
    reference, scratch
        As for :func:`onnx_lobs.run.outcome.evaluate_run`.
    """
    output, details = evaluate_run(
        run.setup, networks, run.records, reference, scratch, progress, run.log, others=False
    )
    return replace(run, networks=networks, output=output, details=details)


def error_alone(
    run: Run, reference: Reference, scratch: Scratch, progress: Progress
) -> float | None:
    """Return the output error of the fit that is delivered: it alone is what moves."""
    if run.output.n_fits <= 1:
        return run.output.error
    unscored = replace(reference, score=None)
    return judged_again(run, run.networks, unscored, scratch, progress).output.error


def _readers(setup: Setup, channels: ChannelChoice) -> Setup:
    """Return the part of a run that is solved: the layers that read channels which go."""
    return replace(setup.only(channels.kept), kept=channels.kept)


def _correct(
    setup: Setup,
    networks: Networks,
    changed: Sequence[Layer],
    scratch: Scratch,
    progress: Progress,
    log: Log,
) -> CorrectionRecord | None:
    """Correct means and variances behind the layers that changed, if the options say so."""
    if not corrects(setup.config):
        return None
    record, notes = correct(
        networks, changed, setup.batches, held_every=held_every(setup.batches),
        store=lambda: Store(setup.memory.activations, scratch),
        start=progress.start, tick=progress.advance, keep_weights=setup.config.values != "fp32",
    )  # fmt: skip
    log.warn(*notes)
    return record
