"""Lines tell of every stage, and of its steps no more often than they should."""

from __future__ import annotations

import re
import threading

import pytest

import onnx_lobs.report.lines
from onnx_lobs.report.lines import INTERVAL, Lines, format_seconds, telling_lines


class Clock:
    """Tells the time that it is set to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_every_stage_has_a_line_and_steps_one_in_a_while() -> None:
    written: list[str] = []
    clock = Clock()
    lines = Lines(written.append, clock)
    lines.start("solving", 40)
    for _ in range(20):
        clock.now += 1
        lines.advance()
    lines.start("writing", 1)
    assert written[0] == "solving"
    assert written[-1] == "writing"
    assert len(written) == 2 + 20 // INTERVAL
    assert written[2].startswith("solving: 10 of 40, 10 s so far, about 30 s left, ")


def test_a_step_that_takes_long_is_told_of_too() -> None:
    written: list[str] = []
    clock = Clock()
    lines = Lines(written.append, clock)
    lines.tell()
    assert written == []  # nothing has begun
    lines.start("solving", 2)
    clock.now += 70
    lines.tell()
    assert re.match("solving: 0 of 2, 1 min 10 s so far", written[1])
    assert "left" not in written[1]


def test_a_heart_beats_while_nothing_advances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_lobs.report.lines, "INTERVAL", 0.01)
    told = threading.Event()
    written: list[str] = []

    def write(line: str) -> None:
        written.append(line)
        if len(written) > 1:
            told.set()

    with telling_lines(write) as lines:
        lines.start("solving", 2)
        assert told.wait(timeout=30)
    assert not any(thread.name == "onnx-lobs-progress" for thread in threading.enumerate())


def test_memory_is_told_where_the_system_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    clock = Clock()
    monkeypatch.setattr(onnx_lobs.report.lines, "resident_bytes", lambda: 512_000_000)
    lines = Lines(written.append, clock)
    lines.start("solving", 2)
    clock.now += INTERVAL
    lines.tell()
    monkeypatch.setattr(onnx_lobs.report.lines, "resident_bytes", lambda: None)
    clock.now += INTERVAL
    lines.tell()
    assert written[1].endswith(", 512 MB")
    assert written[2].endswith("so far")


def test_times_are_said_as_people_do() -> None:
    assert [format_seconds(s) for s in (0, 3599, 3600)] == ["0 s", "59 min 59 s", "1 h 0 min"]
