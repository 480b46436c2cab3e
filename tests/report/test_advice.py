"""Every rule gives its advice where it applies and nowhere else; the most urgent come first."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from onnx_lobs.report.advice import MOST, RULES, advise, with_advice
from onnx_lobs.report.record import (
    AdviceRecord,
    FileWeights,
    LayerRecord,
    OutputRecord,
    Report,
    ScoreRecord,
    TargetRecord,
    Totals,
)
from onnx_lobs.targets.runtimes import RUNTIMES, check_options

COMMAND = ("onnx-lobs", "m.onnx", "--data", "d.npz", "--test", "t.npz", "--sparsity", "0.9")
LAYERS = tuple(
    LayerRecord(f"fc{i}", "Gemm", 1000, 900, error, 0.5, "solved", 1.0, columns=100, samples=5000)
    for i, error in enumerate((0.01, 0.3, 0.02, 0.1))
)
SCORE = ScoreRecord("top1", 0.98, 0.979, 0.001, drop_error=0.001, n=10_000, is_fraction=True)
GOOD = Report(
    model="m.onnx",
    options={
        "storage": "sparse",
        "pattern": "unstructured",
        "effort": "default",
        "values": "int8",
    },
    data="d.npz (5000 samples)",
    layers=LAYERS,
    skipped=(),
    totals=Totals(4000, 3600, 9.0, (20_000, 5_000)),
    output=OutputRecord(0.01, score=SCORE),
    output_path="m_pruned.onnx",
    samples=5000,
    command=COMMAND,
)
DENSE = {**GOOD.options, "storage": "dense", "values": "fp32"}
FALLEN = dataclasses.replace(SCORE, after=0.9, drop=0.08)
LOST = dataclasses.replace(SCORE, after=0.1, drop=0.88)
MOSTLY_LEFT = dataclasses.replace(GOOD.totals, file=FileWeights(10_000, 4000, {}))
UNMET = TargetRecord({"drop": 0.01}, False, 0.05, ())


def with_(**changes: Any) -> Report:
    return dataclasses.replace(GOOD, **changes)


def outcome(error: float | None, score: ScoreRecord | None = None) -> OutputRecord:
    return OutputRecord(error, score=score)


CASES = {
    "collapsed": (with_(output=outcome(0.9, LOST)), (*COMMAND, "--dry-run")),
    "made-up data": (
        with_(is_made_up=True, command=("onnx-lobs", "m.onnx", "--sparsity", "0.9")),
        ("onnx-lobs", "m.onnx", "--sparsity", "0.9", "--data", "DATA", "--overwrite"),
    ),
    "target missed": (with_(target=UNMET), (*COMMAND, "--effort", "best", "--overwrite")),
    "large drop": (
        with_(output=outcome(0.1, FALLEN)),
        (*COMMAND[:-2], "--max-drop", "0.01", "--overwrite"),
    ),
    "worst layers": (
        with_(output=outcome(0.1, FALLEN), options={**GOOD.options, "pattern": "2:4"}),
        (*COMMAND, "--exclude", "fc1", "--exclude", "fc3", "--overwrite"),
    ),
    "few samples": (
        with_(samples=8, layers=tuple(dataclasses.replace(x, samples=8) for x in LAYERS)),
        (
            *("onnx-lobs", "m.onnx", "--test", "t.npz", "--sparsity", "0.9"),
            *("--data", "DATA", "--overwrite"),
        ),
    ),
    "few weights": (
        with_(totals=MOSTLY_LEFT),
        ("onnx-lobs", "inspect", "m.onnx"),
    ),
    "same size": (
        with_(options=DENSE, totals=Totals(4000, 3600, 9.0, (20_000, 20_100))),
        None,
    ),
    "int8": (with_(options=DENSE), None),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_rule_gives_its_command(kind: str) -> None:
    report, command = CASES[kind]
    found = advise(report)
    assert found[0].kind == kind
    assert found[0].text
    if command is not None:
        assert found[0].command == command


@pytest.mark.parametrize("target", RUNTIMES)
def test_no_advice_contradicts_the_target(target: str) -> None:
    same = Totals(4000, 3600, 9.0, (20_000, 20_100))
    options = {**DENSE, **RUNTIMES[target].options, "values": "fp32", "target": target}
    command = (*COMMAND, "--target", target)
    for advice in advise(with_(options=options, totals=same, command=command)):
        asked = dict(zip(advice.command, advice.command[1:], strict=False))
        wanted = {"storage": asked.get("--format"), "values": asked.get("--values")}
        pattern = RUNTIMES[target].options.get("pattern", "unstructured")
        rest = {"activations": None, "sparsity": 0.9, "pattern": pattern}
        check_options(target, wanted | rest)  # raises where it is contradicted


def test_a_good_run_needs_no_advice() -> None:
    assert advise(GOOD) == ()


def test_every_rule_has_a_case() -> None:
    given = {rule: [k for k, (report, _) in CASES.items() if rule(report)] for rule in RULES[:4]}
    assert all(given.values())
    kinds = {advice.kind for report, _ in CASES.values() for advice in advise(report)}
    assert kinds == set(CASES)


def test_no_more_than_a_few_are_given_the_most_urgent_first() -> None:
    report = with_(output=outcome(0.9, LOST), is_made_up=True, samples=8)
    assert [advice.kind for advice in advise(report)] == ["collapsed", "made-up data"]
    assert MOST == 2


@pytest.mark.parametrize(
    ("drop", "error", "is_large"),
    [(0.03, 0.001, True), (0.009, 0.001, False), (0.03, 0.02, False), (0.03, None, True)],
)
def test_a_drop_counts_where_it_is_large_and_no_chance(
    drop: float, error: float | None, is_large: bool
) -> None:
    score = dataclasses.replace(SCORE, after=0.98 - drop, drop=drop, drop_error=error)
    kinds = [advice.kind for advice in advise(with_(output=outcome(0.05, score)))]
    assert ("large drop" in kinds) is is_large


def test_without_a_score_the_output_error_counts() -> None:
    (advice,) = advise(with_(output=outcome(0.3), command=COMMAND))
    assert advice.command[-3:] == ("--max-output-error", "0.01", "--overwrite")
    assert advise(with_(output=outcome(0.7)))[0].kind == "collapsed"


@pytest.mark.parametrize("flags", [("--rounds", "0.8,0.9"), ("--retrain-sparsity", "0.95")])
def test_a_search_names_no_sparsity_beside_its_limit(flags: tuple[str, str]) -> None:
    (advice,) = advise(with_(output=outcome(0.3), command=(*COMMAND, *flags)))
    assert advice.command[-3:] == ("--max-output-error", "0.01", "--overwrite")
    assert not set(flags) & set(advice.command)
    assert "--sparsity" not in advice.command


def test_few_samples_matter_only_where_layers_lack_observations() -> None:
    assert advise(with_(samples=8)) == ()


def test_a_format_is_named_only_where_it_makes_the_file_smaller() -> None:
    few = with_(options=DENSE, totals=Totals(4000, 400, 9.0, (20_000, 20_000)))
    assert "same size" not in [advice.kind for advice in advise(few)]
    many = with_(options=DENSE, totals=Totals(4000, 3600, 9.0, (20_000, 20_000)))
    assert advise(many)[0].command[-3:-1] == ("--format", "packed")


def test_advice_is_in_the_record_and_its_json() -> None:
    report = with_advice(with_(is_made_up=True), ("onnx-lobs", "m.onnx"))
    assert report.command == ("onnx-lobs", "m.onnx")
    assert all(isinstance(advice, AdviceRecord) for advice in report.advice)
    assert '"kind": "made-up data"' in report.to_json()
