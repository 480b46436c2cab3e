"""Records are built from values of the stated types, and from no others."""

from __future__ import annotations

from typing import Any

import pytest

from onnx_lobs.report.record import SkipRecord, Totals
from onnx_lobs.run.resume.plain import build, whole_number


def test_record_is_built() -> None:
    assert build(Totals, {"weights": 3, "zeros": 1, "seconds": 2}) == Totals(3, 1, 2)
    built = build(Totals, {"weights": 3, "zeros": 1, "seconds": 0.5, "file_bytes": None})
    assert built.file_bytes is None


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"node": 1, "op": "b", "reason": "c", "kind": "d"}, "says node = .1"),
        ({"node": "a", "op": None, "reason": "c", "kind": "d"}, "says op = .None"),
        ({"node": "a", "op": "b", "reason": "c", "kind": "d", "more": 1}, "says more = .1"),
        ({"node": "a"}, "missing"),
        (["node"], "where a record stands"),
        (7, "where a record stands"),
    ],
)
def test_other_values_are_refused(values: Any, reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        build(SkipRecord, values)


@pytest.mark.parametrize("value", [-1, 11, 3.0, "3", None, [3]])
def test_what_is_no_number_in_the_range_is_refused(value: object) -> None:
    assert whole_number(10, 10) == 10
    with pytest.raises(ValueError, match=r"where a number up to 10 stands"):
        whole_number(value, 10)
