"""What notebooks show is short, without scripts, and well formed."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from example_report import HOSTILE, example_evaluation, example_report

from onnx_lobs.report.record import Report

MOST_LETTERS = 8_000


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("record", [example_report(200), example_evaluation()], ids=["run", "two"])
def test_a_fragment_is_short_and_holds_no_script_or_style(record: Report) -> None:
    text = record._repr_html_()
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert not tags.seen & {"script", "style", "html", "svg", "img"}
    assert HOSTILE in tags.text
    assert len(text) < MOST_LETTERS
    text.encode("utf-8")


def test_the_worst_layers_are_listed() -> None:
    assert "the 12 worst layers" in example_report(13)._repr_html_()
    assert "<summary>layers</summary>" in example_report(12)._repr_html_()
