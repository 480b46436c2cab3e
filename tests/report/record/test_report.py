"""The record and its JSON, which other programs read."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from onnx_lobs.report.record import (
    SCHEMA,
    FileWeights,
    LayerRecord,
    OutputRecord,
    Report,
    ScoreRecord,
    SkipRecord,
    Totals,
)

LAYER = LayerRecord("fc1", "Gemm", 200, 150, 0.01, 0.08, "solved", 1.5)
REPORT = Report(
    model="m.onnx",
    options={"sparsity": 0.75, "include": ("a", "b")},
    data="m.npz (10 samples)",
    layers=(LAYER,),
    skipped=(SkipRecord("c", "Conv", "8 weights, fewer than 64", "few weights", 8),),
    totals=Totals(
        200, 150, 2.0, (1000, 900), (800, 300), FileWeights(208, 200, {"few weights": 8})
    ),
    output=OutputRecord(
        0.02, 0.01, 6, ScoreRecord("top1", 0.98, 0.97, 0.01, 0.1, 0.2, 0.1, 10, True)
    ),
)


def as_json(report: Report) -> dict[str, Any]:
    record = json.loads(report.to_json())
    assert isinstance(record, dict)
    return record


def test_the_json_has_the_promised_keys() -> None:
    record = as_json(REPORT)
    assert record["schema"] == SCHEMA
    assert set(record["layers"][0]) >= {
        *("name", "op", "weights", "zeros", "sparsity", "error", "magnitude_error", "status"),
    }
    assert record["skipped"] == [
        {
            "node": "c",
            "op": "Conv",
            "reason": "8 weights, fewer than 64",
            "kind": "few weights",
            "weights": 8,
        },
    ]
    assert record["totals"] == {
        "weights": 200,
        "zeros": 150,
        "sparsity": 0.75,
        "seconds": 2.0,
        "file_bytes": [1000, 900],
        "gzip_bytes": [800, 300],
        "file": {
            "weights": 208,
            "taken": 200,
            "skipped": {"few weights": 8},
            "tables": 0,
            "quantised": 0,
            "quantised_zeros": None,
            "products": 0,
        },
        "multiplications": None,
    }
    assert record["deploy"] is None
    assert record["output"] == {
        "error": 0.02,
        "fitted_error": 0.01,
        "n_held": 6,
        "n_fits": 0,
        "score": {
            "name": "top1",
            "before": 0.98,
            "after": 0.97,
            "drop": 0.01,
            "before_error": 0.1,
            "after_error": 0.2,
            "drop_error": 0.1,
            "n": 10,
            "is_fraction": True,
            "drop_below": None,
            "unchanged_below": None,
        },
        "first_order": None,
        "bounds": [],
        "notes": [],
        "judged": [],
    }


def test_what_was_not_measured_is_null() -> None:
    report = dataclasses.replace(REPORT, totals=Totals(1, 0, 0.0), output=OutputRecord(None))
    record = as_json(report)
    assert record["totals"]["file_bytes"] is None
    assert record["output"]["error"] is None
    assert record["output"]["score"] is None


def test_every_field_of_the_record_is_in_the_json() -> None:
    record = as_json(REPORT)
    assert set(record) == {"schema", *(f.name for f in dataclasses.fields(Report))}
    fields = {f.name for f in dataclasses.fields(LayerRecord)}
    assert set(record["layers"][0]) == {"sparsity", *fields}


def test_the_json_keeps_the_order_of_the_layers() -> None:
    names = ("z", "a", "m")
    layers = tuple(dataclasses.replace(LAYER, name=name) for name in names)
    record = as_json(dataclasses.replace(REPORT, layers=layers))
    assert tuple(layer["name"] for layer in record["layers"]) == names


def test_a_number_that_json_does_not_know_is_refused() -> None:
    layer = dataclasses.replace(LAYER, error=math.nan)
    with pytest.raises(ValueError, match="not JSON compliant"):
        dataclasses.replace(REPORT, layers=(layer,)).to_json()


def test_sparsity_is_the_fraction_of_zeros() -> None:
    assert LAYER.sparsity == 0.75
    assert REPORT.totals.sparsity == 0.75


def test_sparsity_of_nothing_is_zero() -> None:
    assert dataclasses.replace(LAYER, weights=0, zeros=0).sparsity == 0.0
    assert Totals(0, 0, 0.0).sparsity == 0.0


def test_what_is_infinite_is_null_in_the_json() -> None:
    layer = dataclasses.replace(LAYER, magnitude_error=math.inf)
    record = as_json(dataclasses.replace(REPORT, layers=(layer,)))
    assert record["layers"][0]["magnitude_error"] is None
