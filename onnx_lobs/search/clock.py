"""Keeps a run within the time that it is given, by what it has done so far and what is to come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from onnx_lobs.options.texts import write_duration

SPEED = 2e10  # work a second, until some was measured
CAUTION = 1.25  # of what is to come: an estimate


class Clock:
    """Tells whether there is time for some work before what must be done.

    Parameters
    ----------
    limit
        Seconds from when it is made; None: there is always time.
    now
        Returns seconds.
    """

    def __init__(self, limit: float | None, now: Callable[[], float] = time.perf_counter) -> None:
        self.limit, self._now = limit, now
        self._started = now()
        self._work, self._seconds = 0.0, 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since it was made."""
        return self._now() - self._started

    def note(self, work: float, seconds: float) -> None:
        """Learn how long some work took."""
        self._work += work
        self._seconds += seconds

    def has_time(self, work: float, reserved: float = 0.0) -> bool:
        """Whether there is time for some work and then for what is reserved."""
        is_measured = self._seconds > 0
        speed = self._work / self._seconds if is_measured else SPEED
        return self.has_seconds(CAUTION * (work + reserved) / speed)

    def has_seconds(self, seconds: float) -> bool:
        """Whether there is so much time left."""
        return self.limit is None or self.elapsed + seconds <= self.limit

    def overrun(self) -> list[str]:
        """Return, in words, by how much a run that ends now took too long; [] where it did not."""
        seconds = self.elapsed
        if self.limit is None or seconds <= self.limit:
            return []
        return [
            f"the run took {write_duration(round(seconds))}, longer than --time "
            f"{write_duration(self.limit)}: solving the layers is never cut; --effort fast and "
            "fewer --samples take less"
        ]


class Turns:
    """Tells whether there is time for another turn like the longest so far.

    Attributes
    ----------
    is_ended
        Whether it was asked when there was none.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock, self.is_ended = clock, False
        self._longest = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Measure how long a turn takes."""
        started = self.clock.elapsed
        yield
        self._longest = max(self._longest, self.clock.elapsed - started)

    def go_on(self) -> bool:
        """Whether there is time for another turn."""
        has_time = self.clock.has_seconds(self._longest)
        self.is_ended |= not has_time
        return has_time
