"""Records of several runs are JSON whatever was measured, and tell their scores."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from onnx_lobs.report.comparison import ComparedRun, Comparison
from onnx_lobs.report.sensitivity import NetworkSensitivity, Sensitivity
from onnx_lobs.report.several_runs import SeveralRuns

ABOUT: dict[str, Any] = {"model": "m", "data": "d", "seconds": 1.0}
ABOUT |= {"score": None, "dense_score": None}
RUN = ComparedRun("magnitude", "unstructured", 4, 1, math.inf, None, None, None, 1.0)
LINE = NetworkSensitivity("uniform", (math.inf,))
RECORDS = [
    Comparison(**ABOUT, is_fraction=True, runs=(RUN,)),
    Sensitivity(**ABOUT, is_fraction=True, sparsities=(0.5,), layers=(), networks=(LINE,)),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_an_infinite_error_is_null(record: SeveralRuns) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    plain = json.loads(record.to_json(), parse_constant=refuse)
    assert plain["schema"]
    assert plain["model"] == "m"
    errors = [run["output_error"] for run in plain.get("runs", ())]
    errors += [error for line in plain.get("networks", ()) for error in line["output_errors"]]
    assert errors == [None]


def test_a_score_is_told_as_a_share_or_as_a_number() -> None:
    share, number = (SeveralRuns(**ABOUT, is_fraction=is_fraction) for is_fraction in (True, False))
    assert share.score_words(0.5) == "50.00 %"
    assert number.score_words(0.5, 0.25) == "0.5000 ± 0.2500"
    assert share.score_words(None) == ""
