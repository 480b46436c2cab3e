"""Pages are valid, hold all they need, and show every text as text."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from example_report import HOSTILE, example_evaluation, example_report

from onnx_lobs.errors import ConfigError
from onnx_lobs.report.html import engine
from onnx_lobs.report.record import Details, Report, SkipRecord

pytest.importorskip("jinja2", reason="pages need jinja2")
MOST_BYTES = 2_000_000  # of the page of a model of 100 layers
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
LAYERS = 100


@pytest.fixture(scope="module")
def page() -> str:
    return example_report().to_html()


class Elements(HTMLParser):
    """Notes elements, their attributes and texts, and refuses what is not nested well."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> is no HTML"
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))


def elements(text: str) -> Elements:
    parser = Elements()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize("record", [example_report(), example_evaluation()], ids=["run", "two"])
def test_a_page_is_well_formed_and_its_names_are_unique(record: Report) -> None:
    text = record.to_html()
    found = elements(text)
    assert text.startswith("<!DOCTYPE html>")
    counts = Counter(tag for tag, _ in found.seen)
    assert counts["html"] == counts["head"] == counts["h1"] == counts["main"] == 1
    ids = [attrs["id"] for _, attrs in found.seen if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert all(attrs.get("alt") for tag, attrs in found.seen if tag == "img")
    text.encode("utf-8")


@pytest.mark.parametrize("record", [example_report(), example_evaluation()], ids=["run", "two"])
def test_no_text_becomes_markup(record: Report) -> None:
    found = elements(record.to_html())
    assert [tag for tag, _ in found.seen].count("script") == 1  # the one that sorts
    shown = [text for tag, text in found.texts if HOSTILE in text]
    assert len(shown) > 10
    scripts = "".join(text for tag, text in found.texts if tag == "script")
    assert "alert" not in scripts


def addresses(found: Elements) -> Iterator[str]:
    for _, attrs in found.seen:
        yield from (str(attrs[n]) for n in ("src", "href", "action", "data") if n in attrs)


def test_a_page_loads_nothing(page: str) -> None:
    found = elements(page)
    assert all(one.startswith("data:image/png;base64,") for one in addresses(found))
    styles = "".join(text for tag, text in found.texts if tag == "style")
    assert not re.search(r"url\(|@import", styles)
    policy = next(a["content"] for _, a in found.seen if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_a_page_of_many_layers_is_small() -> None:
    size = len(example_report(LAYERS).to_html().encode("utf-8"))
    assert 0.2 * MOST_BYTES < size < MOST_BYTES


def test_layers_beyond_the_pictures_are_in_the_table() -> None:
    report = example_report(4)
    fewer = replace(report.details, layers=report.details.layers[:2])
    text = replace(report, details=fewer).to_html()
    assert text.count('class="map"') == 2
    assert "Of the 2 largest layers." in text
    assert text.count('<td class="text">MatMul</td>') == 4


def test_parts_without_content_are_left_out(page: str) -> None:
    assert all(f"<h2>{part}</h2>" in page for part in PARTS)
    assert "2 warnings" in page
    bare = replace(
        example_report(), warnings=(), skipped=(), layers=(), target=None, allocation=None,
        advice=(), details=Details(),
    )  # fmt: skip
    text = bare.to_html()
    assert not any(f"<h2>{part}</h2>" in text for part in PARTS)
    assert "warning</h2>" not in text
    elements(text)


PARTS = ("What to try next", "The search", "Layers", "Weights", "Classes",
         "Samples whose outputs changed most", "Nodes that were left")  # fmt: skip


def test_nodes_that_were_left_are_sorted_by_weights_where_these_are_known() -> None:
    skips = tuple(SkipRecord(f"n{i}", "Conv", "why", "kind", i) for i in (5, 2000, 30))
    text = replace(example_report(), skipped=skips).to_html()
    assert re.findall(r">(n\d+)</td>", text) == ["n2000", "n30", "n5"]
    assert '<td data-value="2000">2,000</td>' in text
    assert text.count(">weights</th>") == 2  # of layers, and of these
    unknown = replace(example_report(), skipped=tuple(replace(s, weights=0) for s in skips))
    assert re.findall(r">(n\d+)</td>", unknown.to_html()) == ["n5", "n2000", "n30"]
    heads = (one.to_html().count(">weights</th>") for one in (unknown, example_report()))
    assert list(heads) == [1, 1]


def test_samples_that_are_no_pictures_are_a_table() -> None:
    report = example_report()
    samples = tuple(replace(one, thumbnail=None) for one in report.details.samples)
    text = replace(report, details=replace(report.details, samples=samples)).to_html()
    assert 'aria-label="samples"' in text
    assert "input of sample" not in text


def test_the_command_that_repeats_a_run_is_there(page: str) -> None:
    found = elements(page)
    command = [text for tag, text in found.texts if tag == "pre"][-1]
    assert tuple(shlex.split(command)) == example_report().command


def test_a_missed_limit_is_told() -> None:
    text = example_evaluation().to_html()
    assert "Missed: score top1 drops by 0.0100 ± 0.0040, more than 0.001." in text


def test_templates_are_in_the_package() -> None:
    folder = files("onnx_lobs.report.html") / "templates"
    names = {entry.name for entry in folder.iterdir()}
    assert names == {
        *("base.html", "report.html", "evaluation.html", "retraining.html", "parts.html"),
        *("style.css", "sort.js"),
    }
    assert not any(re.search(r"https?://", (folder / name).read_text("utf-8")) for name in names)


def test_without_jinja_a_page_is_refused_and_all_else_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)  # as if it were not installed
    engine._environment.cache_clear()
    with pytest.raises(ConfigError, match=r"needs jinja2.*pip install 'onnx-lobs\[report\]'"):
        example_report().to_html()
    assert example_report().to_markdown()
    assert example_report()._repr_html_()
    assert importlib.util.find_spec("onnx_lobs.report.html.page") is not None


def test_no_line_ends_inside_the_name_of_an_option() -> None:
    text = "give --max-drop 1, -d a-b or <x> --to"
    flag = '<span class="flag">{}</span>'
    marked = text.replace("<x>", "&lt;x&gt;")
    for name in ("--max-drop", "-d", "--to"):
        marked = marked.replace(f"{name} ", f"{flag.format(name)} ")
    marked = marked.removesuffix("--to") + flag.format("--to")
    template = engine._environment().from_string("{{ text|whole_flags }}")
    assert template.render(text=text) == marked


def test_samples_that_are_files_are_shown_by_their_names() -> None:
    report = example_report()
    samples = tuple(replace(one, file=f"cats/{one.index}.jpg") for one in report.details.samples)
    page = replace(report, details=replace(report.details, samples=samples)).to_html()
    assert all(f"cats/<wbr>{one.index}.<wbr>jpg" in page for one in samples)
