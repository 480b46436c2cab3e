"""Counts the stages of a run: ``3 of 5: choosing the allocation``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx_lobs.report.progress import Progress

LOGGER = logging.getLogger("onnx_lobs")


@dataclass(frozen=True)
class RunStage:
    """One stage of a run: its name, and its phases by how they begin, with a word for each."""

    name: str
    phases: Mapping[str, str]

    def has(self, phase: str) -> bool:
        """Whether a phase is part of it."""
        return any(phase.startswith(begin) for begin in self.phases)

    def label(self, phase: str) -> str:
        """Return its name, and which of its phases it is where they have words."""
        word = next(word for begin, word in self.phases.items() if phase.startswith(begin))
        return f"{self.name} ({word})" if word else self.name


class OneStage:
    """A Progress that tells another one that all phases belong to one stage.

    Parameters
    ----------
    told
        Told of phases by the stage's name and their own, and of steps.
    stage
        The stage; its name begins its phases.
    """

    def __init__(self, told: Progress, stage: RunStage) -> None:
        self._told, self._name = told, stage.name

    def start(self, phase: str, total: int) -> None:
        """Begin a phase of `total` steps."""
        self._told.start(f"{self._name}: {phase}", total)

    def advance(self, n: int = 1) -> None:
        """Count `n` steps of the present phase."""
        self._told.advance(n)


class CountedStages:
    """A Progress that tells another one which stage of how many a phase belongs to.

    A phase of an earlier stage begins the next run, as a search for a target makes several.

    Parameters
    ----------
    told
        Told of phases under their new names, and of steps.
    stages
        In their order.
    """

    def __init__(self, told: Progress, stages: Sequence[RunStage]) -> None:
        self._told, self._stages = told, tuple(stages)
        self._at, self._run = 0, 1

    def start(self, phase: str, total: int) -> None:
        """Begin a phase of `total` steps."""
        label = self._label(phase)
        LOGGER.debug("%s: %d steps", label, total)
        self._told.start(label, total)

    def advance(self, n: int = 1) -> None:
        """Count `n` steps of the present phase."""
        self._told.advance(n)

    def _label(self, phase: str) -> str:
        """Return what a phase is called: one that no stage has, by its own name."""
        places = [i for i, stage in enumerate(self._stages) if stage.has(phase)]
        if not places:
            return phase
        ahead = [place for place in places if place >= self._at]
        if not ahead:
            self._run += 1
        self._at = (ahead or places)[0]
        run = f"run {self._run}, " if self._run > 1 else ""
        name = self._stages[self._at].label(phase)
        return f"{run}{self._at + 1} of {len(self._stages)}: {name}"
