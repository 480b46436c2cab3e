"""JSON keeps its lists of numbers on one line, and every text as it is."""

from __future__ import annotations

import json
import math

from example_report import example_report

from onnx_lobs.report.record.as_json import to_json


def test_texts_that_look_like_lists_stay_and_numbers_stand_on_one_line() -> None:
    record = {
        "text": "[\n  1,\n  2\n]",
        "counts": [1, -2.5, 3e-9],
        "nested": [[1], ["a"]],
        "no": [],
    }
    text = to_json(record)
    assert json.loads(text) == record
    assert '"counts": [1, -2.5, 3e-09]' in text


def test_what_is_infinite_is_null() -> None:
    assert json.loads(to_json({"a": [math.inf, 1.0], "b": (-math.inf,)})) == {
        "a": [None, 1.0],
        "b": [None],
    }


def test_the_details_of_a_report_are_plain_and_without_pictures() -> None:
    details = json.loads(example_report().to_json())["details"]
    assert set(details) == {"layers", "samples", "n_samples", "classes"}
    assert set(details["layers"][0]) == {"name", "shape", "histogram"}
    assert set(details["samples"][0]) == {"index", "change", "label", "before", "after", "file"}
    assert set(details["classes"][0]) == {"label", "n", "before", "after", "drop"}
