"""What a cache entry holds is that of its layer, or it is not used, whatever its checksum says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from build_onnx import model, normal, value
from onnx import helper

import onnx_lobs
from onnx_lobs.run.resume.cache import Cache, Entry

NODE = helper.make_node
OPTIONS: dict[str, Any] = {
    "sparsity": 0.5,
    "allocation": "global",
    "effort": "fast",
    "sequential": False,
}


def prune(cache: Path) -> tuple[bytes, tuple[str, ...]]:
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"], name="one"),
        NODE("Relu", ["a"], ["r"]),
        NODE("Gemm", ["r", "v", "b"], ["y"], name="two"),
    ]
    weights = {"w": normal(1, 16, 12), "v": normal(2, 12, 8), "b": normal(3, 8)}
    proto = model(nodes, [value("x", [None, 16])], ["y"], weights)
    result = onnx_lobs.prune(proto, {"x": normal(4, 40, 16)}, cache=str(cache), **OPTIONS)
    return result.model.SerializeToString(deterministic=True), result.report.warnings


def no_arrays(entry: Entry) -> Entry:
    return Entry({}, entry.record)


def other_shapes(entry: Entry) -> Entry:
    return Entry({name: a[..., :-1] for name, a in entry.arrays.items()}, entry.record)


def other_types(entry: Entry) -> Entry:
    return Entry({name: a.astype("f2") for name, a in entry.arrays.items()}, entry.record)


def not_finite(entry: Entry) -> Entry:
    return Entry({name: np.full_like(a, np.nan) for name, a in entry.arrays.items()}, entry.record)


def no_record(entry: Entry) -> Entry:
    return Entry(entry.arrays, {})


def texts(entry: Entry) -> Entry:
    return Entry(entry.arrays, dict.fromkeys(entry.record, "text"))


def lists(entry: Entry) -> Entry:
    return Entry(entry.arrays, {key: [1, 2] for key in entry.record})


def negative(entry: Entry) -> Entry:
    def less(found: Any) -> Any:
        if isinstance(found, dict):
            return {name: less(held) for name, held in found.items()}
        return -1 if isinstance(found, int) else found

    return Entry(entry.arrays, less(entry.record))


@pytest.mark.parametrize(
    "spoil",
    [no_arrays, other_shapes, other_types, not_finite, no_record, texts, lists, negative],
)
def test_entries_with_a_right_checksum_and_another_content_change_nothing(
    tmp_path: Path, spoil: Callable[[Entry], Entry]
) -> None:
    expected, _ = prune(tmp_path)
    spoiled = Cache(tmp_path)
    keys = [path.stem for path in tmp_path.iterdir()]
    assert len(keys) > 3  # layers, moments, zeros
    for key in keys:
        entry = spoiled.load(key)
        assert entry is not None
        spoiled.save(key, spoil(entry))
    found, warnings = prune(tmp_path)
    assert found == expected
    assert any("damaged or foreign" in warning for warning in warnings)
