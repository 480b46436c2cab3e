"""Prunes a model in several ways, and puts what came out side by side."""

from __future__ import annotations

import dataclasses
import gzip
import time
from collections.abc import Sequence
from itertools import product
from typing import Any

from onnx_lobs.graph.files.load import PROTOBUF_LIMIT
from onnx_lobs.graph.files.source import ModelSource
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.option import options_of
from onnx_lobs.report.comparison import Comparison, compared_run
from onnx_lobs.report.progress import Progress, as_progress
from onnx_lobs.run.selection import weight_pattern
from onnx_lobs.verbs.prune import PruneResult, prune


def compare_runs(
    model: ModelSource,
    data: Any,
    config: PruneConfig,
    *,
    methods: Sequence[str],
    patterns: Sequence[str] = ("unstructured",),
    sparsities: Sequence[float],
    test: Any = None,
    progress: Progress | None = None,
) -> Comparison:
    """Prune a model once for each method, pattern and sparsity; nothing is written.

    Parameters
    ----------
    model, data, test
        As for :func:`onnx_lobs.prune`.
    config
        The other options of all runs.
    methods, patterns, sparsities
        At least one of each. A pattern with a share of its own is pruned once.
    progress
        Told of every step.

    Raises
    ------
    ConfigError, ModelError, DataError, InferenceError, ScoreError, SolverError
        As :func:`onnx_lobs.prune`.

    Notes
    -----
    Cost: as many whole runs.
    """
    started, told = time.perf_counter(), as_progress(progress)
    wanted = [
        dataclasses.replace(config, method=method, pattern=pattern, sparsity=sparsity)
        for method, pattern in product(methods, patterns)
        for sparsity in _levels(pattern, sparsities)
    ]
    results = []
    for number, one in enumerate(wanted, 1):
        numbered = _Numbered(told, f"way {number} of {len(wanted)}, ")
        options = {name: getattr(one, name) for name in options_of(PruneConfig)}
        result = prune(model, data, test=test, progress=numbered, **options)
        results.append((result.report, _gzip_bytes(result)))
    first = results[0][0]
    score = first.output.score
    return Comparison(
        model=first.model,
        data=first.data,
        runs=tuple(compared_run(report, size) for report, size in results),
        score=None if score is None else score.name,
        dense_score=None if score is None else score.before,
        is_fraction=score is not None and score.is_fraction,
        seconds=time.perf_counter() - started,
        warnings=tuple(dict.fromkeys(w for report, _ in results for w in report.warnings)),
    )


def _levels(pattern: str, sparsities: Sequence[float]) -> Sequence[float | None]:
    """Return the sparsities of a pattern: none to choose where it has its own."""
    own = weight_pattern(PruneConfig(pattern=pattern)).own_sparsity
    return sparsities if own is None else (None,)


def _gzip_bytes(result: PruneResult) -> int | None:
    """Return the bytes of the compressed model, where it is one message."""
    if result.folder is not None or result.model.ByteSize() >= PROTOBUF_LIMIT:
        return None
    return len(gzip.compress(result.model.SerializeToString(), 6))


class _Numbered:
    """A Progress that puts the number of the run before each phase."""

    def __init__(self, told: Progress, head: str) -> None:
        self._told, self._head = told, head

    def start(self, phase: str, total: int) -> None:
        self._told.start(self._head + phase, total)

    def advance(self, n: int = 1) -> None:
        self._told.advance(n)
