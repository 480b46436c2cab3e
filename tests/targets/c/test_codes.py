"""Weights in C tables: what kernels read back, the fewest bytes, long gaps."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import normal
from hypothesis import given
from hypothesis import strategies as st
from targets_c import sparse

from onnx_lobs.arrays import Array
from onnx_lobs.targets.c.codes import KINDS, Code, encode


def decoded(code: Code, shape: tuple[int, int]) -> Array:
    """Walk through the tables as the kernels do."""
    rows = np.zeros(shape, code.tables["values"].dtype)
    values = iter(code.tables["values"])
    if code.kind.name == "gaps":
        gaps = iter(code.tables["gaps"])
        for row, count in zip(rows, code.tables["counts"], strict=True):
            place = 0
            for _ in range(count):
                place += int(next(gaps))
                row[place] += next(values)
    elif code.kind.name == "bitmask":
        width = -(-shape[1] // 8)
        bits = np.unpackbits(code.tables["bits"], bitorder="little").reshape(shape[0], width * 8)
        for row, set_bits in zip(rows, bits, strict=True):
            for place in np.flatnonzero(set_bits):
                row[place] = next(values)
    else:
        rows[:] = code.tables["values"].reshape(shape)
    return rows


@given(
    st.integers(1, 5),
    st.integers(1, 700),
    st.floats(0, 1),
    st.integers(0, 99),
    st.sampled_from(["size", "speed"]),
)
def test_kernels_read_back_what_was_stored(
    n: int, columns: int, share: float, seed: int, optimise: str
) -> None:
    rows = np.rint(40 * sparse(normal(seed, n, columns), share, seed)).astype(np.int8)
    assert np.array_equal(decoded(encode(rows, optimise), (n, columns)), rows)


@pytest.mark.parametrize(
    ("share", "kind"), [(0.02, "dense"), (0.5, "bitmask"), (0.95, "gaps"), (1.0, "gaps")]
)
def test_the_fewest_bytes_win(share: float, kind: str) -> None:
    rows = np.rint(40 * np.ones((8, 256)) * (np.random.default_rng(0).random((8, 256)) >= share))
    assert encode(rows.astype(np.int8)).kind is KINDS[kind]


def test_speed_takes_nothing_larger_than_dense() -> None:
    rows = np.ones((4, 64), np.int8)
    rows[:, ::4] = 0
    code = encode(rows, "speed")
    assert code.n_bytes <= rows.size


def test_a_row_of_many_values_has_wide_counts() -> None:
    rows = np.zeros((1, 70000), np.float32)
    rows[0, :66000:1] = 0
    rows[0, ::300] = 1
    code = encode(rows)
    assert code.parameters.startswith("const uint16_t *counts, ")
    assert code.tag == "gaps16"
    assert np.array_equal(decoded(code, rows.shape), rows)
