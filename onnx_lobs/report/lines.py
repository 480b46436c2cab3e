"""Tells a run's advance in plain lines, for logs and pipes: one at each stage, and now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from onnx_lobs.memory.resident import resident_bytes
from onnx_lobs.report.numbers import format_bytes

INTERVAL = 5.0  # seconds between lines of one stage
_LEAST_DONE = 0.02  # share of a phase after which its speed tells the time left


class Lines:
    """Writes lines such as ``2 of 4: calibrating: 12 of 50, about 40 s left, 512 MB``.

    Parameters
    ----------
    write
        Writes one line.
    clock
        Returns seconds.
    """

    def __init__(
        self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write, self._clock = write, clock
        self._lock = threading.Lock()
        self._phase, self._done, self._total = "", 0, 0
        self._since = self._told = clock()

    def start(self, phase: str, total: int) -> None:
        """Begin a phase of `total` steps, and write a line."""
        with self._lock:
            self._phase, self._done, self._total = phase, 0, total
            self._since = self._told = self._clock()
            self._write(phase)

    def advance(self, n: int = 1) -> None:
        """Count `n` steps of the present phase."""
        with self._lock:
            self._done += n
        self.tell()

    def tell(self) -> None:
        """Write a line if the last one is INTERVAL old and there is something to tell."""
        with self._lock:
            now = self._clock()
            if self._phase and now - self._told >= INTERVAL:
                self._told = now
                self._write(self._line(now - self._since))

    def _line(self, elapsed: float) -> str:
        """Return the state after so many seconds of a phase."""
        parts = [f"{self._done} of {self._total}", f"{format_seconds(elapsed)} so far"]
        if self._total and _LEAST_DONE <= self._done / self._total < 1:
            left = elapsed / self._done * (self._total - self._done)
            parts.append(f"about {format_seconds(left)} left")
        held = resident_bytes()
        if held is not None:
            parts.append(format_bytes(held))
        return f"{self._phase}: {', '.join(parts)}"


@contextmanager
def telling_lines(write: Callable[[str], object]) -> Iterator[Lines]:
    """Write lines while the context lasts, also while one step takes long."""
    lines, ended = Lines(write), threading.Event()

    def beat() -> None:
        while not ended.wait(INTERVAL):
            lines.tell()

    thread = threading.Thread(target=beat, daemon=True, name="onnx-lobs-progress")
    thread.start()
    try:
        yield lines
    finally:
        ended.set()
        thread.join()


def format_seconds(seconds: float) -> str:
    """Return a time as people say it.

    >>> format_seconds(0.4), format_seconds(59.6), format_seconds(90), format_seconds(7300)
    ('0 s', '1 min 0 s', '1 min 30 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
