"""A record in a file: all of it, or nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from example_report import example_report

from onnx_lobs.errors import ConfigError
from onnx_lobs.report.write import check_report, check_reports, write_report, write_reports


def test_the_text_replaces_the_file_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text("old")
    write_report(path, '{"name": "é"}')
    assert path.read_text(encoding="utf-8") == '{"name": "é"}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "r.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="cannot be written: No space left on device; choose"):
        write_report(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_gone_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written: No such file"):
        write_report(tmp_path / "gone" / "r.json", "{}")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("r" * 251 + ".json", "is not possible .*too long"),
        ("a\0b.json", "is not possible .*no name can hold"),
        ("pipe.json", "is no regular file; choose another name"),
        ("out.json", "is a link to /dev/stdout, no regular file; choose another name"),
        ("dangling.json", "exists; name another, or give --overwrite"),
        ("r.pdf", "has an unknown form; name it .html, .md or .json"),
        ("folder.json", "is a folder; name a file"),
        ("gone/r.json", "does not exist; create it"),
        ("there.json", "exists; name another, or give --overwrite"),
    ],
)
def test_a_report_that_cannot_be_written_is_refused(tmp_path: Path, name: str, match: str) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "there.json").touch()
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "out.json").symlink_to("/dev/stdout")
    (tmp_path / "dangling.json").symlink_to("nothing")
    with pytest.raises(ConfigError, match=match):
        check_report(tmp_path / name, overwrite=False)


def test_a_read_only_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(ConfigError, match="is not writable; choose another"):
        check_report(tmp_path / "r.json", overwrite=False)


def test_an_existing_report_may_be_overwritten_and_a_new_one_written(tmp_path: Path) -> None:
    path = tmp_path / "r.JSON"
    check_report(path, overwrite=False)
    path.touch()
    check_report(path, overwrite=True)


def test_a_name_as_long_as_names_may_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / f"{'r' * 250}.json"
    write_report(path, "{}")
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"r\.json' is named twice; name each file once"):
        check_reports((tmp_path / "r.json", tmp_path / "." / "r.json"), overwrite=True)


def test_a_page_needs_jinja_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_report(tmp_path / "r.md", overwrite=False)
    with pytest.raises(ConfigError, match=r"needs jinja2.*'onnx-lobs\[report\]'.*\.md or \.json"):
        check_report(tmp_path / "r.html", overwrite=False)


def test_the_name_says_the_form(tmp_path: Path) -> None:
    pytest.importorskip("jinja2", reason="pages need jinja2")
    record = example_report()
    paths = [tmp_path / name for name in ("r.json", "r.MD", "r.html", "r.htm")]
    check_reports(paths, overwrite=False)
    write_reports(paths, record)
    texts = [path.read_text(encoding="utf-8") for path in paths]
    page = record.to_html()
    assert texts == [f"{one}\n" for one in (record.to_json(), record.to_markdown(), page, page)]
