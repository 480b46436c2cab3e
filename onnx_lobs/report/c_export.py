"""Holds the record of a model that was written as C files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from onnx_lobs.report.record.as_json import to_json
from onnx_lobs.targets.c.agreement import Agreement
from onnx_lobs.targets.chips import Chip, Fit


@dataclass(frozen=True)
class CRecord:
    """What was written, and what it takes.

    Parameters
    ----------
    model, folder, files
        What was read, where the files are, and their names.
    values, optimise, ranges
        As they were asked for.
    table_bytes, code_bytes
        For flash: constants, and an upper estimate of compiled code (Cortex-M4, -O2).
    ram_bytes, io_bytes
        Static buffers, and inputs and outputs, which the caller holds.
    multiplications
        By weights that are not zero, of one inference.
    data, samples
        What the 8-bit grids come from.
    agreement
        How the integers compare with onnxruntime in float32; None in float32.
    chip, fit
        The part that was named, and whether the network fits.
    warnings
        In order.
    """

    model: str
    folder: str
    files: tuple[str, ...]
    values: str
    optimise: str
    ranges: str
    table_bytes: int
    code_bytes: int
    ram_bytes: int
    io_bytes: int
    multiplications: int
    data: str
    samples: int
    agreement: Agreement | None
    chip: Chip | None
    fit: Fit | None
    warnings: tuple[str, ...] = ()

    @property
    def flash_bytes(self) -> int:
        """Constants and code."""
        return self.table_bytes + self.code_bytes

    def to_json(self) -> str:
        """Return the record as JSON."""
        fields = {**dataclasses.asdict(self), "flash_bytes": self.flash_bytes}
        fields["fit"] = None if self.fit is None else self.fit.value
        return to_json(fields)
