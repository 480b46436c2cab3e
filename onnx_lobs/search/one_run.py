"""One run: zeros chosen, every layer solved, the network corrected and judged."""

from __future__ import annotations

from collections.abc import Sequence

from onnx_lobs.calibration.shared_inputs import SharedInput, find_shared_inputs
from onnx_lobs.data.synthetic import guesses
from onnx_lobs.errors import layer_context
from onnx_lobs.evaluation.score import MeasuredScore
from onnx_lobs.graph.run.arena import release_memory
from onnx_lobs.layers.layer import Layer
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import Store
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import CorrectionRecord, LayerRecord, SkipRecord
from onnx_lobs.run.correction.correct import Networks, correct
from onnx_lobs.run.deliver import stamp, storable_names
from onnx_lobs.run.layer_step import Solved, solve_one, write_one
from onnx_lobs.run.outcome import evaluate_run
from onnx_lobs.run.resume.state import ChosenZeros, Resume
from onnx_lobs.run.schedule import calibrations, is_sequential, is_staged
from onnx_lobs.run.slots import layer_key
from onnx_lobs.run.workspace import Workspace
from onnx_lobs.search.plan import Planner
from onnx_lobs.search.targets import Run
from onnx_lobs.solvers import METHODS
from onnx_lobs.storage.formats import FORMATS
from onnx_lobs.storage.sizes import encoded_bytes


def run_once(
    work: Workspace,
    planner: Planner,
    before: MeasuredScore | None,
    scratch: Scratch,
    progress: Progress,
) -> Run:
    """Choose the zeros, solve every layer, and evaluate the network."""
    resume = Resume(work, sequential=is_sequential(work), staged=is_staged(work))
    with guesses(work.batches):
        plan = resume.plan()
        if plan is None:
            allocation = planner.choose(work)
            if allocation is not None:
                resume.keep_plan(ChosenZeros(allocation, planner.kind))
        else:
            allocation, planner.kind = plan.allocation, plan.kind
        records, changed = _solve(work, resume, scratch, progress)
        release_memory()  # of the solver
        correction = _correct(work, changed, scratch, progress)
    release_memory()  # before two networks are loaded
    output = evaluate_run(work, before, progress)
    stamp(work.result.proto, work.config)
    size = None
    if work.config.max_bytes is not None:
        storage = FORMATS[work.config.storage]
        names, folder = storable_names(work), work.result.folder
        size = encoded_bytes(work.result.proto, names, storage, folder)
    warnings = (*work.warnings, *resume.warnings)
    return Run(work, tuple(records), output, allocation, warnings, size, correction)


def _solve(
    work: Workspace, resume: Resume, scratch: Scratch, progress: Progress
) -> tuple[list[LayerRecord], list[Layer]]:
    """Calibrate and solve every layer; the models change as it goes.

    Returns the records, and the layers whose weights changed, in graph order.
    """
    in_order = [layer for group in find_shared_inputs(work.layers) for layer in group.layers]
    records: dict[str, LayerRecord] = {}
    changed: set[str] = set()
    skipped = len(work.skips)
    for group, calibration in calibrations(work, resume, scratch, progress):
        for layer, part in group.parts(calibration):
            solved = _solved(work, resume, group, layer, part)
            if solved is not None:
                write_one(work, layer, solved)
                resume.note(group, layer, solved)
                records[layer_key(layer)] = solved.record
                changed |= set() if solved.weight is None else {layer_key(layer)}
            progress.advance()
        part = calibration = None  # before the next group's are made
    names = [layer.name for layer in in_order]
    work.skips[skipped:] = sorted(work.skips[skipped:], key=lambda skip: names.index(skip.node))
    known = [records[key] for key in map(layer_key, in_order) if key in records]
    return known, [layer for layer in in_order if layer_key(layer) in changed]


def _solved(
    work: Workspace,
    resume: Resume,
    group: SharedInput,
    layer: Layer,
    calibration: Calibration | None,
) -> Solved | None:
    """Return a layer as the cache has it, or solve it; None if no batch reaches it."""
    known = resume.solved(group, layer)
    if known is not None or calibration is None:
        return known
    if all(moments.inputs.count == 0 for moments in calibration.fit):
        reason = "never reached on the calibration data"
        work.skips.append(SkipRecord(layer.name, layer.op, reason))
        return None
    with layer_context(layer.name):
        return solve_one(work, layer, calibration)


def _correct(
    work: Workspace, changed: Sequence[Layer], scratch: Scratch, progress: Progress
) -> CorrectionRecord | None:
    """Correct means and variances behind the layers that changed, if the options say so."""
    config = work.config
    refits = METHODS[config.method].refits if config.refit is None else config.refit
    usual = refits and not is_sequential(work)  # which refits every bias behind the others
    if not (usual if config.correct is None else config.correct):
        return None
    networks = Networks(work.dense, work.pruned, work.result, work.provider, work.room.weights)
    record, notes = correct(
        networks, changed, work.batches, n_batches=len(work.batches),
        store=lambda: Store(work.room.activations, scratch),
        start=progress.start, tick=progress.advance,
    )  # fmt: skip
    work.warnings.extend(notes)
    return record
