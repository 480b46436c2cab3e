"""Markdown shows every text as it is, in tables with as many cells as heads."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from example_report import HOSTILE, example_evaluation, example_report

from onnx_lobs.report.markdown import evaluation_markdown, report_markdown

REPORT = report_markdown(example_report())
EVALUATION = evaluation_markdown(example_evaluation())
both = pytest.mark.parametrize("text", [REPORT, EVALUATION], ids=["run", "comparison"])


def tables(text: str) -> list[list[str]]:
    """Return the rows of each table."""
    found: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


@both
def test_every_row_has_the_cells_of_the_head(text: str) -> None:
    assert len(tables(text)) >= 4
    for table in tables(text):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table}) == 1, table


@both
def test_names_are_text_wherever_they_stand(text: str) -> None:
    outside = re.sub(r"^(`{3,})\n.*?^\1$", "", text, flags=re.S | re.M)
    assert not re.search(r"(?<!\\)[<>`]", outside)
    assert HOSTILE in text.replace("\\", "")
    text.encode("utf-8")


@both
def test_the_parts_are_there(text: str) -> None:
    titles = re.findall(r"^## (.*)$", text, re.M)
    assert {"All figures", "To repeat this", "Classes that lost most, of 30"} <= set(titles)
    assert "Samples whose outputs changed most, of 100" in titles
    assert text.startswith("# ")


def test_parts_without_content_are_left_out() -> None:
    report = replace(example_report(), warnings=(), skipped=(), layers=())
    titles = re.findall(r"^## (.*)$", report_markdown(report), re.M)
    assert not {"Warnings", "Layers", "Nodes that were left"} & set(titles)


def test_a_command_with_fences_stays_in_its_fence() -> None:
    text = report_markdown(replace(example_report(), command=("echo", "```")))
    assert "````\necho '```'" in text


def test_limits_that_were_missed_are_told() -> None:
    assert "## Limits that were missed\n\n* score top1 drops by 0.0100" in EVALUATION
