"""Takes down what a report tells beside its figures: warnings, and nodes that were left."""

from __future__ import annotations

import logging
from collections.abc import Callable

from onnx_lobs.report.record import SkipRecord

LOGGER = logging.getLogger("onnx_lobs")
LOGGER.addHandler(logging.NullHandler())  # who wants to read it adds another


class Log:
    """Warnings and skipped nodes in the order in which they came; handed in as progress is.

    Parameters
    ----------
    tell
        Given each warning as it comes, so that those which are known before the work begins are
        seen before it.
    """

    def __init__(self, tell: Callable[[str], object] | None = None) -> None:
        self._tell = tell
        self._warnings: list[str] = []
        self._skips: list[SkipRecord] = []

    def warn(self, *texts: str) -> None:
        """Take down warnings."""
        self._warnings.extend(texts)
        if self._tell is not None:
            for text in texts:
                self._tell(text)
        for text in texts:
            LOGGER.warning("%s", text)

    def skip(self, *skips: SkipRecord) -> None:
        """Take down nodes that are left as they are, and why."""
        self._skips.extend(skips)
        for skip in skips:
            LOGGER.debug("skipped %s %s: %s", skip.op, skip.node, skip.reason)

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings so far."""
        return tuple(self._warnings)

    @property
    def skips(self) -> tuple[SkipRecord, ...]:
        """All skipped nodes so far."""
        return tuple(self._skips)
