"""The verb guide: topics, pages, and what is near a topic that there is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import onnx_lobs
from onnx_lobs.cli.main import main

PAGES = {path.stem: path for path in (Path(onnx_lobs.__file__).parent / "guide").glob("*.md")}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main(["guide", *args])
        assert isinstance(exit_.value.code, int)
        return exit_.value.code, *capfd.readouterr()

    return run


def test_topics_are_listed_with_their_titles(run: Run) -> None:
    code, out, err = run()
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == sorted(PAGES)
    assert ["command-line", "Command line"] in [line.split(maxsplit=1) for line in out.splitlines()]


@pytest.mark.parametrize("topic", sorted(PAGES))
def test_a_pipe_gets_the_page_as_it_is(run: Run, topic: str) -> None:
    assert run(topic) == (0, PAGES[topic].read_text(encoding="utf-8"), "")


def test_a_terminal_gets_it_rendered(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes a pipe for a terminal
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    code, out, _ = run("command-line")
    assert code == 0
    assert "\x1b[1m" in out
    assert "## " not in out
    assert "**" not in out


@pytest.mark.parametrize(
    ("topic", "remedy"),
    [("comand-line", "did you mean command-line?"), ("xyzzy", "choose "), ("../cli/main", "")],
)
def test_an_unknown_topic_is_one_line_and_code_2(run: Run, topic: str, remedy: str) -> None:
    code, out, err = run(topic)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: guide topic {topic!r} is unknown; {remedy}")
