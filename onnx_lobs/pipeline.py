"""prune(): the one place that knows the order of the steps."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx

from onnx_lobs.allocate import Slot, allocate
from onnx_lobs.calibrate import (
    Group,
    calibrate_independent,
    calibrate_sequential,
    make_groups,
)
from onnx_lobs.config import PruneConfig
from onnx_lobs.data.files import find_beside, find_test_beside
from onnx_lobs.data.reader import Batches, input_specs, open_data
from onnx_lobs.data.synthetic import synthetic_batches
from onnx_lobs.errors import ConfigError, LobsError, layer_context
from onnx_lobs.evaluate import output_error, top1
from onnx_lobs.graph.load import LoadedModel, load_model
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.graph.session import Session, find_provider
from onnx_lobs.layers.bias import bias_values
from onnx_lobs.layers.find import Selection, find_layers, matcher
from onnx_lobs.layers.layer import Layer, Skip
from onnx_lobs.layerwise import (
    LayerTask,
    Outcome,
    magnitude_weight,
    relative_error,
    solve_layer,
)
from onnx_lobs.linalg.gram import Calibration
from onnx_lobs.pattern import Unstructured
from onnx_lobs.report.record import LayerRecord, OutputRecord, Report, SkipRecord, Totals
from onnx_lobs.rewrite import add_biases, round_weight, write_bias, write_weight
from onnx_lobs.solvers import METHODS

ModelSource = str | os.PathLike[str] | bytes | onnx.ModelProto
SYNTHETIC_SAMPLES = 64
GRAM_BYTES = 2 << 30
PROVENANCE = "onnx_lobs"


class NothingToPruneError(LobsError):
    """The model has no layer that the options let be pruned."""


class Progress(Protocol):
    """What the pipeline tells about its advance; each phase starts anew and may repeat."""

    def start(self, phase: str, total: int) -> None:
        """Begin a phase of `total` steps."""

    def advance(self, n: int = 1) -> None:
        """Count `n` steps of the present phase."""


class Silent:
    """A Progress that shows nothing."""

    def start(self, phase: str, total: int) -> None:
        """Ignore."""

    def advance(self, n: int = 1) -> None:
        """Ignore."""


@dataclass(frozen=True)
class PruneResult:
    """A pruned model and the record of how it came about."""

    model: onnx.ModelProto
    report: Report


@dataclass
class _Run:
    """One run's private state: three copies of the model, and what was found in it."""

    config: PruneConfig
    loaded: LoadedModel
    batches: Batches
    dense: Model
    pruned: Model
    result: Model
    layers: tuple[Layer, ...]
    skips: list[SkipRecord]
    budgets: dict[str, int]
    provider: str
    progress: Progress
    warnings: list[str]


def prune(
    model: ModelSource,
    data: Any = None,
    *,
    test: Any = None,
    progress: Progress | None = None,
    **options: Any,
) -> PruneResult:
    """Prune an ONNX model in one shot.

    Parameters
    ----------
    model
        Path, bytes or ModelProto. Not modified.
    data
        Calibration data: see :func:`onnx_lobs.data.reader.open_data`. None: what lies beside
        the model's file, else synthetic data, with a warning in the report.
    test
        Labelled data (an npz with ``label``) for the score before and after, or None.
    progress
        Told of every step.
    options
        Fields of :class:`onnx_lobs.config.PruneConfig`.

    Returns
    -------
    PruneResult
        A new ModelProto in which only weights and biases differ (and whose external data,
        as far as they did not change, still lie where the input's do), and the report.

    Raises
    ------
    ConfigError, ModelError, DataError, InferenceError, SolverError
        As :mod:`onnx_lobs.errors` says; nothing is written in any case.
    """
    try:
        config = PruneConfig(**options)
    except TypeError as error:
        known = ", ".join(f.name for f in dataclasses.fields(PruneConfig))
        raise ConfigError(f"{error}; the options are {known}") from error
    started = time.perf_counter()
    run = _prepare(model, data, config, progress or Silent())
    records = [record for record in _solve_all(run)]
    output = _evaluate(run, test)
    _stamp(run.result.proto, config)
    totals = Totals(
        weights=sum(record.weights for record in records),
        zeros=sum(record.zeros for record in records),
        seconds=time.perf_counter() - started,
    )
    report = Report(
        model=_name(model),
        options=dataclasses.asdict(config),
        data=run.batches.origin,
        layers=tuple(records),
        skipped=tuple(run.skips),
        totals=totals,
        output=output,
        warnings=tuple(run.warnings),
    )
    return PruneResult(run.result.proto, report)


def _prepare(model: ModelSource, data: Any, config: PruneConfig, progress: Progress) -> _Run:
    """Load the model, find its layers, open the data, share out the zeros."""
    if config.method not in METHODS:
        raise ConfigError(f"method {config.method!r} is unknown; choose {', '.join(METHODS)}")
    provider = find_provider(config.provider)
    loaded = load_model(model)
    executable, note = to_executable(loaded.proto, loaded.folder, provider)
    layers, skips = find_layers(Model(executable, loaded.folder), selection(config))
    if not layers:
        raise NothingToPruneError(
            f"nothing to prune: {len(skips)} nodes with weights were skipped, "
            "`onnx-lobs inspect` lists them with reasons"
        )
    batches, warnings = _open(model, loaded, data, config)
    dense = _with_biases(executable, loaded, layers)
    pruned = _with_biases(executable, loaded, layers)
    return _Run(
        config=config,
        loaded=loaded,
        batches=batches,
        dense=dense,
        pruned=pruned,
        result=Model(loaded.proto, loaded.folder),
        layers=_real_dtypes(layers, Model(loaded.proto, loaded.folder)),
        skips=[skip_record(skip) for skip in skips],
        budgets=_budgets(layers, config),
        provider=provider,
        progress=progress,
        warnings=([note] if note else []) + warnings,
    )


def selection(config: PruneConfig) -> Selection:
    """Return the part of the options that chooses layers."""
    return Selection(config.include, config.exclude, config.op_types, config.min_weights)


def skip_record(skip: Skip) -> SkipRecord:
    """Return the report's form of a Skip."""
    return SkipRecord(skip.node, skip.op, skip.reason)


def _open(
    model: ModelSource, loaded: LoadedModel, data: Any, config: PruneConfig
) -> tuple[Batches, list[str]]:
    inputs = input_specs(loaded.proto)
    source = data
    if source is None and loaded.path is not None:
        source = find_beside(loaded.path)
    if source is not None:
        batches = open_data(
            source,
            inputs,
            samples=config.samples,
            batch_size=config.batch_size,
            seed=config.seed,
        )
        return batches, []
    batches = synthetic_batches(
        inputs,
        samples=config.samples or SYNTHETIC_SAMPLES,
        batch_size=config.batch_size,
        seed=config.seed,
        input_shapes=config.input_shapes,
    )
    warning = (
        "no calibration data were given or found beside the model: random inputs were used. "
        "The errors below are guesses; give real inputs with -d"
    )
    return batches, [warning]


def _with_biases(
    executable: onnx.ModelProto, loaded: LoadedModel, layers: Sequence[Layer]
) -> Model:
    copy = onnx.ModelProto()
    copy.CopyFrom(executable)
    add_biases(Model(copy, loaded.folder), layers)
    return Model(copy, loaded.folder)


def _real_dtypes(layers: Sequence[Layer], real: Model) -> tuple[Layer, ...]:
    """Return the layers with the types that the model's file stores them in."""
    result = []
    for layer in layers:
        tensor = real.constant(real.scopes[layer.scope], layer.weight)
        assert tensor is not None
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        result.append(dataclasses.replace(layer, dtype=dtype))
    return tuple(result)


def _budgets(layers: Sequence[Layer], config: PruneConfig) -> dict[str, int]:
    """Return the number of zeros of each layer by its key."""
    fixed: dict[str, float] = {}
    for pattern, value in config.layer_sparsity.items():
        test = matcher(pattern)
        hit = [layer for layer in layers if any(test(name) for name in layer.names)]
        if not hit:
            names = ", ".join(layer.name for layer in layers[:5])
            raise ConfigError(
                f"layer sparsity {pattern!r} matches no layer that is pruned; there are: "
                f"{names} ..."
            )
        fixed |= {_key(layer): value for layer in hit}
    slots = []
    for layer in layers:
        geometry = layer.uses[0].unfold
        layout = layer.layout
        slots.append(
            Slot(
                (layout.groups, layout.rows, layout.columns),
                layer.taps,
                () if geometry is None else geometry.kernel,
                fixed.get(_key(layer)),
            )
        )
    zeros = allocate(slots, config.sparsity, config.allocation, Unstructured())
    return {_key(layer): n for layer, n in zip(layers, zeros, strict=True)}


def _key(layer: Layer) -> str:
    return f"{layer.scope}:{layer.weight}"


def _solve_all(run: _Run) -> Iterator[LayerRecord]:
    """Calibrate and solve every layer, in graph order; the models change as it goes."""
    for group, calibration in _calibrations(run):
        first = 0
        for layer in group.layers:
            rows = slice(first, first + layer.layout.rows)
            first += layer.layout.rows
            if all(moments.inputs.count == 0 for moments in calibration.fit):
                reason = "never reached on the calibration data"
                run.skips.append(SkipRecord(layer.name, layer.op, reason))
                continue
            with layer_context(layer.name):
                yield _solve_one(run, layer, calibration.rows(rows))
            run.progress.advance()


def _calibrations(run: _Run) -> Iterator[tuple[Group, Calibration]]:
    groups = make_groups(run.layers)
    n_batches, seed = len(run.batches), run.config.seed
    sequential = run.config.sequential
    if sequential is None:
        sequential = METHODS[run.config.method].wants_sequential
    if sequential:
        run.progress.start("calibrating and solving", len(run.layers))
        yield from calibrate_sequential(
            run.dense,
            run.pruned,
            groups,
            run.batches,
            n_batches=n_batches,
            provider=run.provider,
            seed=seed,
        )
        return
    for part in _within(groups, GRAM_BYTES):
        run.progress.start("calibrating", n_batches)
        found = calibrate_independent(
            run.dense,
            part,
            run.batches,
            n_batches=n_batches,
            provider=run.provider,
            seed=seed,
            tick=run.progress.advance,
        )
        run.progress.start("solving", sum(len(group.layers) for group in part))
        yield from zip(part, found, strict=True)


def _within(groups: Sequence[Group], budget: int) -> Iterator[list[Group]]:
    """Split groups into runs whose Grams fit a budget of bytes; each run is one pass."""
    part: list[Group] = []
    used = 0
    for group in groups:
        layout = group.layers[0].layout
        size = 2 * 8 * layout.groups * layout.columns**2 * len(group.uses)
        if part and used + size > budget:
            yield part
            part, used = [], 0
        part.append(group)
        used += size
    if part:
        yield part


def _solve_one(run: _Run, layer: Layer, calibration: Calibration) -> LayerRecord:
    started = time.perf_counter()
    task = _task(run, layer, calibration)
    zeros_before = int((task.weight == 0).sum())
    if zeros_before >= task.n_prune:
        status = "already sparse" if task.n_prune else "left dense"
        return _untouched(layer, zeros_before, calibration, status)
    outcome = solve_layer(task)
    stored = round_weight(layer, outcome.weight)
    exact = layer.matrix(stored)
    write_weight(run.pruned, layer, stored)
    write_weight(run.result, layer, stored)
    for use, change in zip(layer.uses, outcome.bias_change, strict=True):
        if change is not None:
            write_bias(run.pruned, use, layer, change)
            write_bias(run.result, use, layer, change)
    return _record(run, layer, task, outcome, exact, time.perf_counter() - started)


def _task(run: _Run, layer: Layer, calibration: Calibration) -> LayerTask:
    config = run.config
    tensor = run.dense.constant(run.dense.scopes[layer.scope], layer.weight)
    assert tensor is not None
    return LayerTask(
        weight=layer.matrix(run.dense.value(tensor)),
        calibration=calibration,
        centred=tuple(use.bias is not None for use in layer.uses),
        n_prune=run.budgets[_key(layer)],
        bias=_present_bias(run.dense, layer),
        taps=layer.taps,
        method=config.method,
        refit=config.refit,
        damp=config.damp,
        seed=config.seed,
    )


def _present_bias(model: Model, layer: Layer) -> np.ndarray | None:
    """Return the bias (groups, rows) of a layer's only use, or None if it has no such one."""
    slot = layer.uses[0].bias
    if slot is None or len(layer.uses) > 1:
        return None
    tensor = model.constant(model.scopes[slot.scope], slot.name)
    assert tensor is not None
    values = model.value(tensor).astype(np.float64)
    if values.size != layer.layout.groups * layer.layout.rows:
        return None
    return values.reshape(layer.layout.groups, layer.layout.rows) * slot.factor


def _untouched(
    layer: Layer, zeros: int, calibration: Calibration, status: str
) -> LayerRecord:
    return LayerRecord(
        name=layer.name,
        op=layer.op,
        weights=layer.size,
        zeros=zeros,
        error=0.0,
        magnitude_error=0.0,
        status=status,
        seconds=0.0,
        columns=layer.layout.columns,
        samples=sum(moments.inputs.count for moments in calibration.fit),
    )


def _record(
    run: _Run, layer: Layer, task: LayerTask, outcome: Outcome, exact: np.ndarray, seconds: float
) -> LayerRecord:
    none = (None,) * len(task.centred)
    return LayerRecord(
        name=layer.name,
        op=layer.op,
        weights=layer.size,
        zeros=int((exact == 0).sum()),
        error=relative_error(task, exact, outcome.bias_change),
        magnitude_error=relative_error(task, magnitude_weight(task), none),
        status=outcome.status.value,
        remedy=outcome.status.remedy,
        seconds=seconds,
        held_error=outcome.held_error,
        method=run.config.method,
        columns=layer.layout.columns,
        samples=sum(
            moments.inputs.count
            for moments in (*task.calibration.fit, *task.calibration.held)
        ),
        damp=outcome.damp,
        target=outcome.target,
        info=dict(outcome.info),
    )


def _evaluate(run: _Run, test: Any) -> OutputRecord:
    dense = Session(run.dense.proto, folder=run.loaded.folder, provider=run.provider)
    pruned = Session(run.pruned.proto, folder=run.loaded.folder, provider=run.provider)
    run.progress.start("evaluating", len(run.batches))
    error = output_error(dense, pruned, run.batches, run.progress.advance)
    if test is None and run.loaded.path is not None:
        test = find_test_beside(run.loaded.path)
    if test is None:
        return OutputRecord(error)
    scored = open_data(
        test,
        input_specs(run.loaded.proto),
        samples=None,
        batch_size=run.config.batch_size,
        seed=run.config.seed,
    )
    if scored.labels is None:
        raise ConfigError(f"the test set {scored.origin} has no labels; add an array `label`")
    run.progress.start("scoring", 2 * len(scored))
    return OutputRecord(
        error,
        top1(dense, scored, scored.labels, run.progress.advance),
        top1(pruned, scored, scored.labels, run.progress.advance),
        scored.n_samples,
    )


def _stamp(proto: onnx.ModelProto, config: PruneConfig) -> None:
    """Leave a short provenance in the metadata; every other entry stays."""
    from onnx_lobs import __version__

    text = (
        f"{__version__} method={config.method} sparsity={config.sparsity:g} "
        f"allocation={config.allocation} seed={config.seed}"
    )
    entry = next((p for p in proto.metadata_props if p.key == PROVENANCE), None)
    if entry is None:
        entry = proto.metadata_props.add()
        entry.key = PROVENANCE
    entry.value = text


def _name(model: ModelSource) -> str:
    if isinstance(model, onnx.ModelProto):
        return model.graph.name or "model"
    return "bytes" if isinstance(model, bytes) else str(model)
