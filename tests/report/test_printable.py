"""What no page can hold is shown; all else stays."""

from __future__ import annotations

import pytest

from onnx_lobs.report.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("caf\udce9", r"caf\udce9"),
        ("a\0b\x1b[1m", r"a\x00b\x1b[1m"),
        ("a\u202eb", r"a\u202eb"),
        ("a\uffffb", r"a\uffffb"),
    ],
)
def test_what_is_no_text_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode("utf-8")


@pytest.mark.parametrize("text", ["", "a\tb\nc", "Größe 日本 → ×", "\U0001f600"])
def test_text_stays(text: str) -> None:
    assert printable(text) is text or printable(text) == text
