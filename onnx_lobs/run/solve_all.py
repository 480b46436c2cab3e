"""Calibrates and solves every layer of a run, in the order in which memory lets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx_lobs.arrays import RealArray
from onnx_lobs.calibration.shared_inputs import SharedInput, find_shared_inputs
from onnx_lobs.errors import layer_context
from onnx_lobs.layers.layer import Layer, Skip
from onnx_lobs.layers.refusal import Refusal, RefusalKind
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import LayerRecord
from onnx_lobs.run.layer_step import Solved, solve_one, write_one
from onnx_lobs.run.log import LOGGER, Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.resume.known import Known
from onnx_lobs.run.schedule import calibrations
from onnx_lobs.run.selection import skip_record
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.slots import layer_key

UNREACHED = Refusal(RefusalKind.UNREACHED, "never reached on the calibration data")


@dataclass(frozen=True)
class SolvedLayers:
    """What became of the layers, in graph order: their records, and those whose weights changed.

    ``records`` and ``scales``, those of which a layer's weights are multiples, go by its key.
    """

    records: Mapping[str, LayerRecord]
    changed: tuple[Layer, ...]
    scales: Mapping[str, RealArray]


def solve_all(
    setup: Setup,
    networks: Networks,
    known: Known,
    scratch: Scratch,
    progress: Progress,
    log: Log,
) -> SolvedLayers:
    """Calibrate and solve every layer; the pruned network and the result change as it goes.

    Parameters
    ----------
    known
        What an earlier run solved, and where this one's layers are kept. Its zeros are this run's.
    log
        Told of layers that no data reach.

    Raises
    ------
    SolverError
        When a layer's problem has no solution; it names the layer.
    """
    records: dict[str, LayerRecord] = {}
    changed: set[str] = set()
    scales: dict[str, RealArray] = {}
    for shared, calibration in calibrations(setup, networks, known, scratch, progress, log):
        for layer, part in shared.parts(calibration):
            solved = _solved(setup, networks, known, shared, layer, part)
            if solved is not None:
                with layer_context(layer.name):
                    write_one(networks, layer, solved)
                known.note(shared, layer, solved)
                records[layer_key(layer)] = _logged(solved.record)
                if solved.scales is not None:
                    scales[layer_key(layer)] = solved.scales
                changed |= set() if solved.weight is None else {layer_key(layer)}
            progress.advance()
        part = calibration = None  # before the next ones are made
    in_order = [layer for shared in find_shared_inputs(setup.layers) for layer in shared.layers]
    unreached = [layer for layer in in_order if layer_key(layer) not in records]
    log.skip(
        *(
            skip_record(Skip(layer.name, layer.op, UNREACHED, (layer.stored,)))
            for layer in unreached
        )
    )
    keys = [layer_key(layer) for layer in in_order]
    return SolvedLayers(
        {key: records[key] for key in keys if key in records},
        tuple(layer for layer in in_order if layer_key(layer) in changed),
        scales,
    )


def _logged(record: LayerRecord) -> LayerRecord:
    """Log a layer and return it."""
    LOGGER.info(
        "%s: %d of %d weights zero, error %.3g (magnitude's %.3g), %s, %.1f s", record.name,
        record.zeros, record.weights, record.error, record.magnitude_error, record.status,
        record.seconds,
    )  # fmt: skip
    return record


def _solved(
    setup: Setup,
    networks: Networks,
    known: Known,
    shared: SharedInput,
    layer: Layer,
    calibration: Calibration | None,
) -> Solved | None:
    """Return a layer as the cache has it, or solve it; None if no batch reaches it."""
    found = known.solved(shared, layer)
    if found is not None or calibration is None:
        return found
    if all(moments.inputs.count == 0 for moments in calibration.fit):
        return None
    with layer_context(layer.name):
        return solve_one(setup, networks, layer, calibration, known.zeros[layer_key(layer)])
