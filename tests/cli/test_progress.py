"""Progress bars: on a terminal only."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from onnx_lobs.cli.progress import show_bars


class Terminal(io.StringIO):
    """Text that says it is shown on a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _term(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def test_a_terminal_shows_a_bar_for_every_phase_and_then_removes_them() -> None:
    file = Terminal()
    with show_bars(Console(file=file, force_terminal=True, width=80)) as bars:
        assert bars is not None
        bars.start("calibrating", 3)
        bars.advance(2)
        bars.start("solving", 7)
        bars.advance()
    text = file.getvalue()
    for shown in ("calibrating", "2/3", "solving", "1/7"):
        assert shown in text
    assert text.endswith("\x1b[1A\x1b[2K")  # up and erased, for each line


def test_a_phase_that_starts_again_starts_from_zero() -> None:
    file = Terminal()
    with show_bars(Console(file=file, force_terminal=True, width=80)) as bars:
        assert bars is not None
        bars.advance()  # before any phase: nothing to count
        bars.start("solving", 7)
        bars.advance(7)
        bars.start("solving", 9)
        bars.advance(2)
    final = file.getvalue().rsplit("solving", 1)[1]
    assert "2/9" in final


@pytest.mark.parametrize("force_terminal", [True, None])
def test_a_pipe_gets_no_bars(force_terminal: bool | None) -> None:
    file = io.StringIO()
    with show_bars(Console(file=file, force_terminal=force_terminal)) as bars:
        assert bars is None
    assert file.getvalue() == ""


def test_no_bars_where_they_are_not_wanted_or_the_cursor_cannot_move(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = Terminal()
    with show_bars(Console(file=file, force_terminal=True), wanted=False) as bars:
        assert bars is None
    monkeypatch.setenv("TERM", "dumb")
    with show_bars(Console(file=file, force_terminal=True)) as bars:
        assert bars is None
    assert file.getvalue() == ""
