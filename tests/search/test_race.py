"""A trial that is stopped could not have won."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_lobs.evaluation.loss import LossSums
from onnx_lobs.search.race import LEAST_BATCHES, Scored, has_lost, is_beaten, is_behind

POSITIONS = 10  # of every batch


def batch(change: float, changed: int, energy: float = 1.0) -> LossSums:
    return LossSums(change, energy, True, changed, POSITIONS)


BATCHES = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, POSITIONS), st.floats(0, 1)), min_size=1, max_size=8
)


@given(BATCHES, st.randoms(use_true_random=False))
def test_whatever_the_rest_brings_a_beaten_trial_loses(
    drawn: list[tuple[float, int, float]], random: np.random.RandomState
) -> None:
    own = [batch(change, changed) for change, changed, _ in drawn]
    best = Scored(tuple(batch(other, POSITIONS - changed) for _, changed, other in drawn))
    whole = Scored(tuple(own)).loss.value
    for seen in range(1, len(own)):
        if is_beaten(own[:seen], best):
            assert whole >= best.loss.value


def test_a_trial_is_beaten_by_the_very_batch_that_decides() -> None:
    best = Scored((batch(0.1, 1),) * 8)
    own = [batch(0.3, 3)] * 8
    stops = [seen for seen in range(1, 9) if is_beaten(own[:seen], best)]
    # its error is 3 seen / 80, its choices (3 seen + 1) / 81: from the third batch on, more than
    # 8 / 80 and 9 / 81 can be on the geometric mean
    assert stops == [3, 4, 5, 6, 7, 8]


def test_one_that_wins_is_never_stopped() -> None:
    best = Scored((batch(0.2, 2),) * 8)
    own = [batch(0.19, 2)] * 8
    assert not any(has_lost(own[:seen], best) for seen in range(1, 9))


@pytest.mark.parametrize(
    ("gap", "noise", "changed", "expected"),
    [
        (0.05, 0.01, 2, True),  # all batches are worse by far more than they differ
        (0.05, 0.20, 2, False),  # they differ too much to tell
        (0.05, 0.01, 1, False),  # fewer choices changed, so its value may yet be lower
        (-0.05, 0.01, 2, False),
    ],
)
def test_behind_is_who_is_worse_by_many_standard_errors(
    gap: float, noise: float, changed: int, expected: bool
) -> None:
    signs = np.resize([1.0, -1.0], LEAST_BATCHES)
    own = [batch(0.5 + gap + noise * sign, changed) for sign in signs]
    best = Scored((batch(0.5, 2),) * (4 * LEAST_BATCHES))
    assert is_behind(own, best) == expected
    assert not is_behind(own[:-1], best)


def test_sums_without_floats_are_judged_by_their_choices() -> None:
    best = Scored((LossSums(changed=1, positions=POSITIONS),) * 4)
    own = [LossSums(changed=POSITIONS, positions=POSITIONS)]
    assert is_beaten(own, best)
    assert not is_beaten([LossSums(changed=2, positions=POSITIONS)], best)
