"""Stages are counted, whatever phases a run has, and searches count their runs."""

from __future__ import annotations

from onnx_lobs.report.progress import ProgressCalls
from onnx_lobs.report.stages import CountedStages, RunStage

STAGES = (
    RunStage("scoring the dense model", {"scoring": ""}),
    RunStage("choosing", {"measuring": "layers", "trying": "trials"}),
    RunStage("solving", {"solving": "", "correcting": "biases"}),
    RunStage("evaluating", {"evaluating": "outputs", "scoring": "score"}),
)


def labels(*phases: str) -> list[str]:
    seen: list[str] = []
    stages = CountedStages(ProgressCalls(lambda phase, done, total: seen.append(phase)), STAGES)
    for phase in phases:
        stages.start(phase, 3)
    return seen


def test_a_phase_is_named_by_its_stage_and_their_number() -> None:
    assert labels("scoring", "measuring layers", "trying", "solving", "correcting means") == [
        "1 of 4: scoring the dense model",
        "2 of 4: choosing (layers)",
        "2 of 4: choosing (trials)",
        "3 of 4: solving",
        "3 of 4: solving (biases)",
    ]


def test_a_phase_of_two_stages_is_that_of_the_one_ahead() -> None:
    assert labels("scoring", "solving", "evaluating", "scoring")[-1] == "4 of 4: evaluating (score)"


def test_an_earlier_stage_begins_another_run() -> None:
    found = labels("measuring", "solving", "evaluating", "solving", "evaluating", "trying")
    assert found[3:] == [
        "run 2, 3 of 4: solving",
        "run 2, 4 of 4: evaluating (outputs)",
        "run 3, 2 of 4: choosing (trials)",
    ]


def test_a_phase_of_no_stage_keeps_its_name() -> None:
    assert labels("opening") == ["opening"]


def test_steps_are_passed_on() -> None:
    seen: list[tuple[str, int, int]] = []
    stages = CountedStages(ProgressCalls(lambda *step: seen.append(step)), STAGES)
    stages.start("solving", 3)
    stages.advance(2)
    assert seen == [("3 of 4: solving", 0, 3), ("3 of 4: solving", 2, 3)]
