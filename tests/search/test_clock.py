"""A clock leaves time for what must be done, and learns from what was."""

from __future__ import annotations

import pytest

from onnx_lobs.search.clock import CAUTION, SPEED, Clock, Turns


class Hands:
    """A time that goes on when it is told to."""

    def __init__(self) -> None:
        self.seconds = 50.0

    def __call__(self) -> float:
        return self.seconds


def test_without_a_limit_there_is_always_time() -> None:
    hands = Hands()
    clock = Clock(None, hands)
    hands.seconds += 1e9
    assert clock.has_time(1e30, 1e30)
    assert Turns(clock).go_on()


def test_work_that_is_reserved_is_left_time_for() -> None:
    clock = Clock(10.0, Hands())
    affordable = 10.0 / CAUTION * SPEED
    assert clock.has_time(0.49 * affordable, 0.49 * affordable)
    assert not clock.has_time(0.49 * affordable, 0.53 * affordable)


@pytest.mark.parametrize(("speed", "expected"), [(2 * SPEED, True), (SPEED / 2, False)])
def test_the_speed_is_what_was_measured(speed: float, expected: bool) -> None:
    clock = Clock(10.0, Hands())
    clock.note(3 * speed, 3.0)
    assert clock.has_time(9.0 / CAUTION * SPEED) == expected


def test_a_further_turn_needs_as_much_time_as_the_longest() -> None:
    hands = Hands()
    turns = Turns(Clock(10.0, hands))
    for seconds in (4.0, 1.0):
        assert turns.go_on()
        with turns.turn():
            hands.seconds += seconds
    assert turns.go_on()
    assert not turns.is_ended
    hands.seconds += 1.5
    assert not turns.go_on()
    assert turns.is_ended


def test_a_run_that_took_too_long_says_so() -> None:
    hands = Hands()
    clock, endless = Clock(90.0, hands), Clock(None, hands)
    hands.seconds += 90
    assert clock.overrun() == []
    hands.seconds += 60
    (text,) = clock.overrun()
    assert text.startswith("the run took 2m30s, longer than --time 1m30s: solving")
    assert endless.overrun() == []
