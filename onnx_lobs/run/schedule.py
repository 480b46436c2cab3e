"""Schedules which layers are calibrated when, so that what is in memory fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from onnx_lobs.calibration.held_out import held_every
from onnx_lobs.calibration.independent import calibrate_independent
from onnx_lobs.calibration.options import CalibrationOptions
from onnx_lobs.calibration.sequential import calibrate_in_stages, calibrate_sequential
from onnx_lobs.calibration.shared_inputs import SharedInput, find_shared_inputs, within
from onnx_lobs.calibration.target_cache import TargetCache
from onnx_lobs.graph.run.arena import release_memory
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.shares import LEAST_SOLVER
from onnx_lobs.memory.store import Store
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.layer_step import solver_memory
from onnx_lobs.run.log import Log
from onnx_lobs.run.modes import is_sequential, uses_graph
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.resume.known import Known
from onnx_lobs.run.setup import Setup

NAMED = 5  # layers that a warning names
Found = Iterator[tuple[SharedInput, Calibration | None]]


def calibrations(
    setup: Setup,
    networks: Networks,
    known: Known,
    scratch: Scratch,
    progress: Progress,
    log: Log,
    targets: TargetCache | None = None,
) -> Found:
    """Yield every shared input with its moments, None where all its layers are known.

    In graph order, but where all Grams of a pass are in memory: then the largest come last, and
    no others wait while their layers are solved. In sequential mode the caller writes the new
    weights before it asks for the next one. The same goes for independent mode where the weights
    exceed their share of memory: then too, only one stage is loaded at a time.

    Parameters
    ----------
    known
        What an earlier run left, and where the moments of this one are kept.
    log
        Warned of what memory does to the run.
    targets
        Those that an earlier run over these batches took from the dense network, or this one will.
    """
    shared_inputs = find_shared_inputs(setup.layers)
    _note_memory(setup, networks, shared_inputs, log)
    store = Store(setup.memory.activations, scratch)
    if is_sequential(setup.config):
        progress.start("calibrating and solving", len(setup.layers))
        yield from calibrate_sequential(
            networks.dense, networks.pruned, shared_inputs, setup.batches,
            calibration_options(setup, networks),
            store=store, is_known=known.is_known, cache=targets,
        )  # fmt: skip
    elif networks.is_staged:
        if uses_graph(setup.config, networks.provider):
            log.warn(
                "all Grams were computed by NumPy: the weights exceed their share of --memory, "
                "and a model that runs in stages computes none in its graph"
            )
        progress.start("calibrating and solving", len(setup.layers))
        yield from _staged(setup, networks, shared_inputs, known, store)
    else:
        for part in within(shared_inputs, setup.memory.grams):
            yield from _one_pass(setup, networks, part, known, progress, log)


def _note_memory(
    setup: Setup, networks: Networks, shared_inputs: Sequence[SharedInput], log: Log
) -> None:
    """Warn of layers that need more than their share of memory, by name."""
    memory, share = setup.config.memory, setup.memory.grams
    if memory is not None:
        most = max(memory // 2, LEAST_SOLVER)
        large = [x.name for x in setup.layers if (solver_memory(memory, x) or 0) > most]
        if large:
            log.warn(
                f"solving {_some(large)} may take more than half of --memory ({memory} bytes), "
                "even row by row; give more, or exclude them"
            )
    is_one_by_one = is_sequential(setup.config) or networks.is_staged
    together = [shared for shared in shared_inputs if shared.is_tied or not is_one_by_one]
    passes = len(list(within(together, share)))
    if passes > 1:
        what = "calibration of tied weights" if is_one_by_one else "calibration"
        over = [shared.layers[0].name for shared in together if shared.gram_bytes > share]
        alone = f" (that of {_some(over)} alone does)" if over else ""
        log.warn(
            f"{what} took {passes} passes over the data: the Grams exceed their share of "
            f"memory, {share} bytes{alone}; more --memory takes fewer"
        )


def _some(names: Sequence[str]) -> str:
    """Name the first few."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _staged(
    setup: Setup,
    networks: Networks,
    shared_inputs: Sequence[SharedInput],
    known: Known,
    store: Store,
) -> Found:
    """Calibrate stage by stage on the dense network."""

    def is_known(shared: SharedInput) -> bool:
        return known.is_known(shared) or known.has_moments(shared, shared_inputs)

    found = calibrate_in_stages(
        networks.dense, shared_inputs, setup.batches, calibration_options(setup, networks),
        store=store, is_known=is_known,
    )  # fmt: skip
    for shared, calibration in found:
        if calibration is not None:
            known.keep_moments(shared, shared_inputs, calibration)
        elif not known.is_known(shared):
            calibration = known.take_moments(shared, shared_inputs)
        yield shared, calibration


def _one_pass(
    setup: Setup,
    networks: Networks,
    part: Sequence[SharedInput],
    known: Known,
    progress: Progress,
    log: Log,
) -> Found:
    """Calibrate shared inputs in one pass over the dense network, those that are not known.

    All are tapped in any case: a graph with other outputs may round its sums otherwise.
    """
    missing = [s for s in part if not known.is_known(s) and not known.has_moments(s, part)]
    made: list[Calibration] = []
    if missing:
        release_memory()  # of the layers that were solved before
        progress.start("calibrating", len(setup.batches))
        in_graph = uses_graph(setup.config, networks.provider)
        made = calibrate_independent(
            networks.dense, missing, setup.batches,
            replace(calibration_options(setup, networks), in_graph=in_graph),
            tapped=part, tick=progress.advance, warn=log.warn,
        )  # fmt: skip
    found = dict(zip(map(id, missing), made, strict=True))
    made.clear()
    for shared in missing:
        known.keep_moments(shared, part, found[id(shared)])
    progress.start("solving", sum(len(shared.layers) for shared in part))
    for shared in sorted(part, key=lambda shared: shared.gram_bytes):
        if id(shared) in found:
            yield shared, found.pop(id(shared))
        else:
            yield shared, None if known.is_known(shared) else known.take_moments(shared, part)


def calibration_options(setup: Setup, networks: Networks) -> CalibrationOptions:
    """Return the settings of a calibration whose sums NumPy computes."""
    config, memory = setup.config, setup.memory
    return CalibrationOptions(
        n_batches=len(setup.batches),
        held_every=held_every(setup.batches),
        provider=networks.provider, seed=config.seed,
        positions=config.positions, least_observations=setup.least_observations,
        most_weights=memory.weights, most_targets=memory.noted, most_grams=memory.grams,
        is_tight=config.memory is not None,
    )  # fmt: skip
