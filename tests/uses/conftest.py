"""Runs the command line in the folder of a new user, which is made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from workshop import write_workshop

from onnx_lobs.cli.main import main


@dataclass(frozen=True)
class Told:
    """What a use gave: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what went wrong."""
        (line,) = [line for line in self.err.splitlines() if line.startswith("error: ")]
        return line

    @property
    def warnings(self) -> list[str]:
        """The lines that warn."""
        return [line for line in self.err.splitlines() if line.startswith("warning: ")]


Use = Callable[..., Told]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with models and data, which no test changes."""
    folder = tmp_path_factory.mktemp("workshop")
    write_workshop(folder)
    return folder


@pytest.fixture
def use(workshop: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Use:
    """What runs the command line there."""
    monkeypatch.chdir(workshop)
    monkeypatch.setenv("COLUMNS", "80")

    def use(*words: str | Path) -> Told:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        assert isinstance(exit_.value.code, int)
        return Told(exit_.value.code, out, err)

    return use
