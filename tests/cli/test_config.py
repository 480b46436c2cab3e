"""The verb config writes a file that -c runs; the command line wins over the file."""

from __future__ import annotations

from pathlib import Path

import pytest

import onnx_lobs.cli.prune
from onnx_lobs.cli.files import Files
from onnx_lobs.cli.main import main
from onnx_lobs.cli.screen import Screen
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.report.record import OutputRecord, Report, Totals

RECORD = Report("m", {}, "d", (), (), Totals(0, 0, 0.0), OutputRecord(None))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Files, PruneConfig, Screen]]:
    found: list[tuple[Files, PruneConfig, Screen]] = []

    def prune(
        files: Files, config: PruneConfig, screen: Screen, command: tuple[str, ...]
    ) -> Report:
        found.append((files, config, screen))
        return RECORD

    monkeypatch.setattr(onnx_lobs.cli.prune, "_prune", prune)
    return found


def code(*args: str | Path) -> object:
    with pytest.raises(SystemExit) as exit_:
        main([str(arg) for arg in args])
    return exit_.value.code


def test_what_is_written_runs_and_the_command_line_wins(
    tmp_path: Path, calls: list[tuple[Files, PruneConfig, Screen]]
) -> None:
    path = tmp_path / "run.toml"
    given = ("m.onnx", "-d", "d.npz", "-s", "80%", "--exclude", "a", "--no-refit", "--positions")
    assert code("config", *given, "all", "-o", path) == 0
    code("-c", path)
    code("-c", path, "-s", "0.5", "other.onnx", "--refit", "-q")
    (files, config, _), (others, changed, screen) = calls
    assert (files.model, files.data, files.output) == (Path("m.onnx"), "d.npz", None)
    assert config == PruneConfig(sparsity=0.8, exclude=("a",), refit=False, positions=None)
    assert (others.model, changed.sparsity, changed.refit) == (Path("other.onnx"), 0.5, True)
    assert changed.exclude == ("a",)
    assert screen.quiet


def test_without_a_file_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert code("config") == 0
    assert "\nallocation = " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"sparsty = 1", "option 'sparsty' is unknown; did you mean sparsity?"),
        (b"\xff", "cannot be read (it is no UTF-8 text)"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_a_file_that_cannot_be_meant_is_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, match: str
) -> None:
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_bytes(content)
    assert code("m.onnx", "-c", path) == 2
    err = capsys.readouterr().err
    assert match in err
    assert err.count("\n") == 1


def test_an_existing_file_is_not_replaced_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.toml"
    assert code("config", "-o", path) == 0
    assert code("config", "-o", path) == 2
    assert "exists; name another, or give --overwrite" in capsys.readouterr().err
    assert code("config", "-o", path, "--overwrite") == 0
    assert code("config", "-o", tmp_path / "gone" / "run.toml") == 2
    assert "cannot be written: No such file" in capsys.readouterr().err


def test_a_value_out_of_range_is_found_before_anything_is_written(tmp_path: Path) -> None:
    assert code("config", "-s", "80", "-o", tmp_path / "run.toml") == 2
    assert not (tmp_path / "run.toml").exists()


def test_a_name_that_is_no_utf_8_cannot_be_in_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code("config", "m\udcff.onnx", "-o", tmp_path / "run.toml") == 2
    assert "is no UTF-8, as TOML is" in capsys.readouterr().err
    assert not (tmp_path / "run.toml").exists()
