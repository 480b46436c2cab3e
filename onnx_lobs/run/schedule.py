"""Schedules which layers are calibrated when, so that what is in memory fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from onnx_lobs.calibration.independent import calibrate_independent
from onnx_lobs.calibration.options import CalibrationOptions
from onnx_lobs.calibration.sequential import calibrate_in_stages, calibrate_sequential
from onnx_lobs.calibration.shared_inputs import SharedInput, find_shared_inputs, within
from onnx_lobs.errors import ConfigError
from onnx_lobs.graph.run.arena import release_memory
from onnx_lobs.graph.run.session import PROVIDER_NAMES
from onnx_lobs.linalg import compiled
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import Store
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.layer_step import LEAST_SOLVER, solver_memory
from onnx_lobs.run.resume.state import Resume
from onnx_lobs.run.workspace import Workspace
from onnx_lobs.solvers import METHODS

COMPILED_FROM = 1_000_000  # weights: with fewer, compiling takes longer than it saves
COMPILED_MEMORY = 4 << 30  # bytes: of less, the 128 MB that the compiler takes are too large a part
NAMED = 5  # layers that a warning names
Found = Iterator[tuple[SharedInput, Calibration | None]]


def is_sequential(work: Workspace) -> bool:
    """Whether layers see the pruned network's inputs."""
    wanted = work.config.sequential
    return METHODS[work.config.method].wants_sequential if wanted is None else wanted


def uses_graph(work: Workspace) -> bool:
    """Whether the graph itself computes the Grams that it can.

    Raises
    ------
    ConfigError
        When it is asked to in sequential mode, whose targets need two networks at once.
    """
    gram = work.config.gram
    if is_sequential(work):
        if gram == "graph":
            raise ConfigError(
                "gram 'graph' is not possible in sequential mode, which compares two networks; "
                "add --independent (sequential=False), or use --gram numpy or auto"
            )
        return False
    return gram == "graph" or (gram == "auto" and work.provider != PROVIDER_NAMES["cpu"])


def is_compiled(work: Workspace) -> bool:
    """Whether loops are compiled: where they can be, in networks and memory that are not small."""
    memory = work.config.memory
    has_room = memory is None or memory >= COMPILED_MEMORY
    is_large = sum(layer.size for layer in work.layers) >= COMPILED_FROM
    return has_room and is_large and compiled.is_available()


def calibrations(work: Workspace, resume: Resume, scratch: Scratch, progress: Progress) -> Found:
    """Yield every group with its moments, None where all its layers are known.

    In graph order, but where all Grams of a pass are in memory: then the largest come last, and
    no others wait while their layers are solved. In sequential mode the caller writes the new
    weights before it asks for the next group. The same goes for independent mode where the weights
    exceed their share of memory: then too, only one stage is loaded at a time.
    """
    groups = find_shared_inputs(work.layers)
    _note_memory(work, groups)
    store = Store(work.room.activations, scratch)
    if is_sequential(work):
        progress.start("calibrating and solving", len(work.layers))
        yield from calibrate_sequential(
            work.dense, work.pruned, groups, work.batches, calibration_options(work),
            store=store, is_known=resume.is_known, cache=work.kept,
        )  # fmt: skip
    elif is_staged(work):
        progress.start("calibrating and solving", len(work.layers))
        yield from _staged(work, groups, resume, store)
    else:
        for part in within(groups, work.room.grams):
            yield from _one_pass(work, part, resume, progress)


def _note_memory(work: Workspace, groups: Sequence[SharedInput]) -> None:
    """Warn of layers that need more than their share of memory, by name."""
    memory, share = work.config.memory, work.room.grams
    if memory is not None:
        most = max(memory // 2, LEAST_SOLVER)
        large = [x.name for x in work.layers if (solver_memory(memory, x) or 0) > most]
        if large:
            work.warnings.append(
                f"solving {_some(large)} may take more than half of --memory ({memory} bytes), "
                "even row by row; give more, or exclude them"
            )
    is_one_by_one = is_sequential(work) or is_staged(work)
    together = [group for group in groups if group.is_tied or not is_one_by_one]
    passes = len(list(within(together, share)))
    if passes > 1:
        what = "calibration of tied weights" if is_one_by_one else "calibration"
        over = [group.layers[0].name for group in together if group.gram_bytes > share]
        alone = f" (that of {_some(over)} alone does)" if over else ""
        work.warnings.append(
            f"{what} took {passes} passes over the data: the Grams exceed their share of "
            f"memory, {share} bytes{alone}; more --memory takes fewer"
        )


def _some(names: Sequence[str]) -> str:
    """Name the first few."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def is_staged(work: Workspace) -> bool:
    """Whether the model's weights exceed their share of memory."""
    return work.dense.weight_bytes > work.room.weights


def _staged(work: Workspace, groups: Sequence[SharedInput], resume: Resume, store: Store) -> Found:
    """Calibrate stage by stage on the dense network."""
    if uses_graph(work):
        work.warnings.append(
            "all Grams were computed by NumPy: the weights exceed their share of --memory, and "
            "a model that runs in stages computes none in its graph"
        )

    def is_known(group: SharedInput) -> bool:
        return resume.is_known(group) or resume.has_moments(group, groups)

    options = calibration_options(work)
    found = calibrate_in_stages(
        work.dense, groups, work.batches, options, store=store, is_known=is_known
    )
    for group, calibration in found:
        if calibration is not None:
            resume.keep_moments(group, groups, calibration)
        elif not resume.is_known(group):
            calibration = resume.moments(group, groups)
        yield group, calibration


def _one_pass(
    work: Workspace, part: Sequence[SharedInput], resume: Resume, progress: Progress
) -> Found:
    """Calibrate groups in one pass over the dense network, those that the cache does not hold.

    All are tapped in any case: a graph with other outputs may round its sums otherwise.
    """
    missing = [g for g in part if not resume.is_known(g) and not resume.has_moments(g, part)]
    made: list[Calibration] = []
    if missing:
        release_memory()  # of the layers that were solved before
        progress.start("calibrating", len(work.batches))
        made = calibrate_independent(
            work.dense, missing, work.batches,
            replace(calibration_options(work), in_graph=uses_graph(work)),
            tapped=part, tick=progress.advance, warn=work.warnings.append,
        )  # fmt: skip
    found = dict(zip(map(id, missing), made, strict=True))
    made.clear()
    for group in missing:
        resume.keep_moments(group, part, found[id(group)])
    progress.start("solving", sum(len(group.layers) for group in part))
    for group in sorted(part, key=lambda group: group.gram_bytes):
        if id(group) in found:
            yield group, found.pop(id(group))
        else:
            yield group, None if resume.is_known(group) else resume.moments(group, part)


def calibration_options(work: Workspace) -> CalibrationOptions:
    """Return the settings of a calibration whose sums NumPy computes."""
    return CalibrationOptions(
        n_batches=len(work.batches), provider=work.provider, seed=work.config.seed,
        positions=work.config.positions, least_observations=work.least_observations,
        most_weights=work.room.weights, most_targets=work.room.noted, most_grams=work.room.grams,
        is_tight=work.config.memory is not None,
    )  # fmt: skip
