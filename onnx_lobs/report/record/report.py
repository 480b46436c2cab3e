"""Gathers the record of a run: one frozen structure from which every form of report is made."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass

from onnx_lobs.report.record.choice import AllocationRecord, CorrectionRecord, TargetRecord
from onnx_lobs.report.record.inputs import InputRange
from onnx_lobs.report.record.layer import LayerRecord
from onnx_lobs.report.record.output import OutputRecord
from onnx_lobs.report.record.totals import SkipRecord, Totals

# 3 had `linear` in `output`; 2 `errors` in `allocation`; 1 the score's figures in `output` itself
SCHEMA = 4


@dataclass(frozen=True, repr=False)
class Report:
    """The record of a run.

    `loops` is what compiles loops that can be, None: NumPy does all. `inputs` are the ranges of the
    calibration data in their first batch.
    """

    model: str
    options: dict[str, object]
    data: str
    layers: tuple[LayerRecord, ...]
    skipped: tuple[SkipRecord, ...]
    totals: Totals
    output: OutputRecord
    allocation: AllocationRecord | None = None
    target: TargetRecord | None = None
    warnings: tuple[str, ...] = ()
    correction: CorrectionRecord | None = None
    output_path: str | None = None
    loops: str | None = None
    inputs: tuple[InputRange, ...] = ()

    def __repr__(self) -> str:
        """Return one short line."""
        totals = self.totals
        error = "unknown" if self.output.error is None else f"{self.output.error:.2g}"
        return (
            f"<Report {self.model!r}: {totals.zeros:,} of {totals.weights:,} weights zero "
            f"({100 * totals.sparsity:.1f} %) in {len(self.layers)} layers, output error {error}>"
        )

    def to_dict(self) -> dict[str, object]:
        """Return the record as plain values, with derived figures and the schema version."""
        record = dataclasses.asdict(self)
        for entry, layer in zip(record["layers"], self.layers, strict=True):
            entry["sparsity"] = layer.sparsity
        record["totals"]["sparsity"] = self.totals.sparsity
        return {"schema": SCHEMA, **record}

    def to_json(self) -> str:
        """Return the record as JSON; ``schema`` is the version of its form.

        What is infinite, such as the error of a layer whose outputs were all zero, is null.
        """
        return json.dumps(_without_infinity(self.to_dict()), indent=2, allow_nan=False)


def _without_infinity(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_infinity(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinity(one) for one in value]
    return None if isinstance(value, float) and math.isinf(value) else value
