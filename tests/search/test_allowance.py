"""Trials and finals are in proportion to the run that they serve."""

from __future__ import annotations

import pytest

from onnx_lobs.search.allowance import (
    FINALISTS,
    FREE,
    LEAST_TRIALS,
    SHARE,
    TRIALS_SHARE,
    Allowance,
)
from onnx_lobs.search.clock import Clock
from onnx_lobs.search.trial_samples import MOST_FITTED
from onnx_lobs.search.work import Work

LARGE = 1e3 * FREE


def allowance(work: Work, *, is_bounded: bool = True, limit: float | None = None) -> Allowance:
    return Allowance(work, is_bounded, 0.1, Clock(limit, lambda: 0.0))


def test_all_work_stays_within_its_share_of_the_run() -> None:
    work = Work(LARGE, LARGE / 10, LARGE / 50, LARGE / 40, LARGE / 2)
    bounded = allowance(work)
    n = bounded.n_trials(100)
    share = bounded.final_share(n)
    assert LEAST_TRIALS < n < 100
    assert 0.1 < share < MOST_FITTED
    done = work.measuring + n * work.trial + FINALISTS * work.final_on(share)
    assert done == pytest.approx(SHARE * LARGE)
    left = SHARE * LARGE - work.measuring
    assert n * work.trial <= TRIALS_SHARE * left < (n + 1) * work.trial


@pytest.mark.parametrize("is_bounded", [True, False])
def test_dear_trials_are_few_but_for_the_best_effort(is_bounded: bool) -> None:
    dear = allowance(Work(LARGE, LARGE, LARGE, LARGE, LARGE), is_bounded=is_bounded)
    assert dear.n_trials(30) == (LEAST_TRIALS if is_bounded else 30)
    assert dear.affords_finals(3) is not is_bounded
    assert dear.final_share(3) == (0.1 if is_bounded else MOST_FITTED)


def test_what_takes_seconds_is_free() -> None:
    small = allowance(Work(1e6, 1e6, FREE / 100, FREE / 100, FREE / 100))
    assert small.n_trials(30) == 30
    assert small.affords_finals(30)
    assert small.final_share(30) == MOST_FITTED


def test_no_more_trials_than_are_wanted() -> None:
    assert allowance(Work(LARGE, 0, 1, 1, 1)).n_trials(5) == 5
    assert allowance(Work(1, 1, LARGE, 1, 1)).n_trials(2) == 2


def test_without_time_there_is_neither_a_trial_nor_a_final() -> None:
    work = Work(1e11, 1e9, 1e9, 1e9, 1e9)
    assert allowance(work, limit=1e6).has_time_to_try()
    assert allowance(work, limit=1e6).has_time_for_finals(1.0)
    assert not allowance(work, limit=1.0).has_time_to_try()
    assert not allowance(work, limit=1.0).has_time_for_finals(1.0)
