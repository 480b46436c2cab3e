"""Inputs that Polygraphy saved are read, without pickle; damaged ones are refused."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.data.kinds.polygraphy import read_feeds
from onnx_lobs.data.reader import open_data
from onnx_lobs.errors import DataError


def encoded(array: np.ndarray, marker: str = "polygraphy_class") -> dict[str, str]:
    """Encode an array as Polygraphy's JSON does."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return {"array": base64.b64encode(file.getvalue()).decode(), marker: "ndarray"}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("marker", ["polygraphy_class", "polygraphy_serialized_json_type"])
def test_each_feed_is_a_batch(tmp_path: Path, marker: str) -> None:
    arrays = [np.full((2, 3), i, np.float32) for i in range(2)]
    path = write(tmp_path / "inputs.json", [{"x": encoded(array, marker)} for array in arrays])
    inputs = [InputSpec("x", np.dtype("float32"), ("N", 3))]
    batches = open_data(path, inputs, samples=None, batch_size=8)
    for batch, array in zip(batches, arrays, strict=True):
        np.testing.assert_array_equal(batch["x"], array)


def test_one_feed_alone_and_orders_of_axes(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(6).reshape(2, 3))
    (feeds,) = read_feeds(write(tmp_path / "a.json", {"x": encoded(array), "y": [1.5, 2]}))
    np.testing.assert_array_equal(feeds["x"], array)
    np.testing.assert_array_equal(feeds["y"], [1.5, 2])


def test_objects_and_wrong_sizes_are_refused(tmp_path: Path) -> None:
    objects = encoded(np.array([{}], object))
    cut = encoded(np.arange(4.0))
    cut["array"] = base64.b64encode(base64.b64decode(cut["array"])[:-8]).decode()
    for value, match in ((objects, "Python objects"), (cut, "its shape needs 32")):
        with pytest.raises(DataError, match=match):
            read_feeds(write(tmp_path / "a.json", [{"x": value}]))


@pytest.mark.parametrize(
    "content", [3, ["x"], [{"x": {"array": "no base64!"}}], [{"x": {}}], [{"x": "text"}]]
)
def test_other_json_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(DataError, match=r"a.json holds no inputs that Polygraphy saved"):
        read_feeds(write(tmp_path / "a.json", content))


def test_text_that_is_no_json_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match="holds no inputs that Polygraphy saved"):
        read_feeds(tmp_path / "a.json")
    with pytest.raises(DataError, match=r"none.json does not exist"):
        read_feeds(tmp_path / "none.json")
