"""Values of options are read from texts, or refused, and written again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.texts import (
    parse_bytes,
    parse_duration,
    parse_input_shape,
    write_duration,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2GiB", 2 << 30), ("2gib", 2 << 30), ("2 G", 2 << 30), ("500MB", 500_000_000),
        ("1.5KiB", 1536), ("7", 7), ("7B", 7), ("1TiB", 1 << 40), (" 3 kb ", 3000),
    ],
)  # fmt: skip
def test_amounts_are_read(text: str, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "much", "-1GiB", "1 PiB", "GiB", "1,5GiB", "0x10"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no amount of memory; write 2GiB"):
        parse_bytes(text)


@given(st.text(min_size=1), st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
def test_an_input_shape_is_parsed_back(name: str, sizes: list[int]) -> None:
    text = f"{name}:{'x'.join(map(str, sizes))}"
    assert parse_input_shape(text) == (name, tuple(sizes))


@pytest.mark.parametrize(
    "text", ["x", "x:", ":1x2", "x:1x0", "x:-1", "x:1x", "x:1,2", "x:1.5", "x:1\n"]
)
def test_an_input_shape_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not understood; write the name and positive sizes"):
        parse_input_shape(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("10m", 600), ("1h", 3600), ("1h30m", 5400), ("1h 30m 5s", 5405),
        ("1.5 H", 5400), ("600", 600), ("0.5", 0.5), ("2m0.5s", 120.5),
    ],
)  # fmt: skip
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration("time", text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "-1m", "10 days", "m", "5m1h", "1m2m", "10m5", "1,5h", "1e3", "10ms"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no duration; write 90s, 10m, 1h30m or seconds"):
        parse_duration("time", text)


@given(st.floats(0, 1e6) | st.integers(0, 10**6))
def test_a_duration_is_read_back(seconds: float) -> None:
    assert parse_duration("time", write_duration(seconds)) == seconds
