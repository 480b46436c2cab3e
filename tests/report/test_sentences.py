"""The sentences of a report say what its figures say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from example_report import example_evaluation, example_report

from onnx_lobs.report.record import OutputRecord, ScoreRecord
from onnx_lobs.report.sentences import (
    evaluation_sentences,
    report_sentences,
    score_sentence,
    size_sentence,
)

REPORT = example_report()
SCORE = ScoreRecord("top1", 0.98, 0.97, 0.01, 0.004, 0.004, 0.002, 600, True)


def test_the_sentences_of_a_run() -> None:
    assert list(report_sentences(REPORT)) == [
        "50.0 % of the 3,000 weights in 3 layers are zero.",
        "The limit (drop of the score 0.08 and size of the file 3.00 kB at most) is met; the "
        "search took 3 runs.",
        "The top-1 score was 98.00 % and is 91.00 % (-7.00 ± 1.00 points on 600 samples).",
        "The outputs changed by 2 % of their mean square, on 6 samples that nothing was fitted to.",
        "The file has 2.00 kB for 4.00 kB (2.00x smaller); packed by gzip, 1.00 kB for 3.00 kB "
        "(3.00x smaller).",
        "1 node with weights was left as found.",
    ]  # fmt: skip


def test_what_is_not_known_is_said_or_left_out() -> None:
    assert REPORT.target is not None
    bare = replace(
        REPORT,
        layers=REPORT.layers[:1],
        target=replace(REPORT.target, is_met=False),
        output=OutputRecord(None),
        totals=replace(REPORT.totals, file_bytes=None, gzip_bytes=None),
        skipped=REPORT.skipped * 2,
    )
    assert [one.split(" (")[0] for one in report_sentences(bare)] == [
        "50.0 % of the 3,000 weights in its only layer are zero.",
        "The limit",
        "How much the outputs changed is not known.",
        "2 nodes with weights were left as found.",
    ]
    assert "is NOT met: this is the best of 3 runs" in list(report_sentences(bare))[1]


def test_the_sentences_of_a_comparison() -> None:
    assert list(evaluation_sentences(example_evaluation())) == [
        "90.0 % of the 1,000 weights that can be pruned are zero; in the dense model 0.0 %.",
        "The top-1 score was 98.00 % and is 97.00 % (-1.00 ± 0.40 points on 500 samples).",
        "The outputs changed by 1.23 % of their mean square, on 500 samples.",
        "The file has 4.00 kB as before.",
    ]


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({}, "600 samples)."),
        ({"drop_error": 0.01}, "So small a difference can be chance."),
        ({"after": 0.5, "drop": 0.48}, "The network is of little use."),
    ],
)
def test_a_score_is_judged(changes: dict[str, float], end: str) -> None:
    assert score_sentence(replace(SCORE, **changes)).endswith(end)


def test_no_change_is_no_minus() -> None:
    same = replace(SCORE, after=0.98, drop=0.0, drop_error=0.0)
    assert "(+0.00 ± 0.00 points" in score_sentence(same)


def test_a_size_that_stayed_is_named_once() -> None:
    assert size_sentence((1000, 1000), None) == "The file has 1.00 kB as before."
