"""The log goes where it is asked for, and into no file that is something else."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from onnx_lobs.cli.progress import FIRST_LINE, LOGGER, showing
from onnx_lobs.cli.screen import Screen
from onnx_lobs.errors import ConfigError


def test_a_log_file_holds_every_level_with_times_and_grows(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    for _ in range(2):
        with showing(Screen(log_file=path, quiet=True)):
            logging.getLogger(LOGGER).debug("fc1 was solved")
    first, *lines = path.read_text().splitlines()
    assert first == FIRST_LINE
    assert [line.split(maxsplit=2)[2] for line in lines] == ["DEBUG fc1 was solved"] * 2


def test_verbose_prints_what_is_done_but_no_details(capsys: pytest.CaptureFixture[str]) -> None:
    with showing(Screen(verbose=True, quiet=True)):
        logging.getLogger(LOGGER).info("fc1\nwas solved")
        logging.getLogger(LOGGER).debug("detail")
    assert capsys.readouterr().err == "fc1 was solved\n"


def test_nothing_is_left_behind() -> None:
    logger = logging.getLogger(LOGGER)
    before = logger.level, list(logger.handlers)
    with showing(Screen(verbose=True, quiet=True)):
        assert len(logger.handlers) == len(before[1]) + 1
    assert (logger.level, list(logger.handlers)) == before


def test_another_file_is_not_written_into(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"model")
    with (
        pytest.raises(ConfigError, match="exists and is no log of onnx-lobs; name another"),
        showing(Screen(log_file=path)),
    ):
        pass
    assert path.read_bytes() == b"model"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="cannot be written: No such file"),
        showing(Screen(log_file=tmp_path / "gone" / "run.log")),
    ):
        pass


def test_without_being_asked_there_is_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    import onnx_lobs.run.log

    onnx_lobs.run.log.Log().warn("nobody reads this")
    assert stream.getvalue() == ""
