"""Bars on terminals that can, lines in pipes, nothing where it is not wanted."""

from __future__ import annotations

import builtins
import io

import pytest
from rich.console import Console

from onnx_lobs.report.bars import Bars, showing_bars
from onnx_lobs.report.lines import Lines
from onnx_lobs.report.progress import Silent
from onnx_lobs.report.showing import in_notebook, show_progress, telling


class Terminal(io.StringIO):
    """Text that says it is shown on a terminal."""

    def isatty(self) -> bool:
        return True


class ZMQInteractiveShell:
    """Has the name of the shell behind a notebook."""


@pytest.fixture(autouse=True)
def _term(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def test_a_terminal_shows_a_bar_for_every_phase_and_then_removes_them() -> None:
    file = Terminal()
    with show_progress(Console(file=file, force_terminal=True, width=80)) as bars:
        assert isinstance(bars, Bars)
        bars.start("2 of 5: choosing the allocation (trials)", 3)
        bars.advance(2)
        bars.start("solving", 7)
        bars.advance()
    text = file.getvalue()
    for shown in ("2 of 5: choosing the allocation (trials)", "2/3", "solving", "1/7"):
        assert shown in text
    assert text.endswith("\x1b[1A\x1b[2K")  # up and erased, for each line


def test_a_phase_that_starts_again_starts_from_zero() -> None:
    file = Terminal()
    with showing_bars(Console(file=file, force_terminal=True, width=80)) as bars:
        bars.advance()  # before any phase: nothing to count
        bars.start("solving", 7)
        bars.advance(7)
        bars.start("solving", 9)
        bars.advance(2)
    final = file.getvalue().rsplit("solving", 1)[1]
    assert "2/9" in final


@pytest.mark.parametrize("force_terminal", [True, None])
def test_a_pipe_gets_lines(force_terminal: bool | None) -> None:
    file = io.StringIO()
    with show_progress(Console(file=file, force_terminal=force_terminal, width=20)) as lines:
        assert isinstance(lines, Lines)
        lines.start("1 of 5: a stage whose name is longer than a line", 3)
    assert file.getvalue() == "1 of 5: a stage whose name is longer than a line\n"


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with show_progress(Console(file=Terminal(), force_terminal=True)) as lines:
        assert isinstance(lines, Lines)


def test_nothing_is_shown_where_it_is_not_wanted() -> None:
    file = Terminal()
    with show_progress(Console(file=file, force_terminal=True), wanted=False) as bars:
        assert bars is None
    assert file.getvalue() == ""


def test_python_may_say_yes_no_or_nothing() -> None:
    with telling(True) as told:
        assert isinstance(told, Bars | Lines)
    for nothing in (False, None):
        with telling(nothing) as told:
            assert isinstance(told, Silent)


def test_a_notebook_is_known_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not in_notebook()
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    assert in_notebook()
    monkeypatch.setattr(builtins, "get_ipython", lambda: None, raising=False)
    assert not in_notebook()
