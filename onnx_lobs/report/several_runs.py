"""Holds what records of several sparsities or runs have in common."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from onnx_lobs.report.numbers import format_score
from onnx_lobs.report.record import SCHEMA
from onnx_lobs.report.record.as_json import to_json


@dataclass(frozen=True, kw_only=True)
class SeveralRuns:
    """Several prunings of one model on the same data.

    ``score`` is the score's name, ``dense_score`` the dense model's, None without test data;
    ``is_fraction`` says whether it is a share of samples.
    """

    model: str
    data: str
    score: str | None
    dense_score: float | None
    is_fraction: bool
    seconds: float
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain values, with the schema version."""
        return {"schema": SCHEMA, **dataclasses.asdict(self)}

    def to_json(self) -> str:
        """Return the record as JSON; ``schema`` is the version of its form."""
        return to_json(self.to_dict())

    def score_words(self, value: float | None, error: float | None = None) -> str:
        """Return a score and its standard error in words; empty where there is none."""
        return "" if value is None else format_score(value, error, is_fraction=self.is_fraction)
