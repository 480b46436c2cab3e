"""Searches for the least sparse network whose code fits a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from onnx_lobs.errors import ConfigError
from onnx_lobs.report.record import TargetRecord
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.one_run import Run
from onnx_lobs.run.setup import Setup
from onnx_lobs.search.bracket import MOST, find_smallest
from onnx_lobs.search.clock import Clock, Turns

FIT_RUNS = 3  # the second and third put right what was foreseen; more only while nothing fits


@dataclass(frozen=True)
class Room:
    """What a device has, and what networks take of it.

    Parameters
    ----------
    chip
        Its name, for messages.
    flash
        Bytes that it has.
    expected
        Bytes foreseen at a share of zeros.
    measure
        Bytes that a pruned network takes.
    """

    chip: str
    flash: int
    expected: Callable[[float], float]
    measure: Callable[[Run], int]


def search_fit(
    setup: Setup,
    networks: Networks,
    run: Callable[[Setup, Networks, str | None], Run],
    room: Room,
    most: float = 1.0,
    least: float = 0.0,
    clock: Clock | None = None,
) -> tuple[Run, TargetRecord]:
    """Run at a few sparsities and return the least sparse run that fits.

    Parameters
    ----------
    setup, networks, run, most, least, clock
        As for :func:`onnx_lobs.search.targets.search`.
    room
        What there is.

    Raises
    ------
    ConfigError
        When nothing fits, before the first run where that is foreseen.
    """
    most = min(most, MOST)
    if room.expected(most) > room.flash:
        raise ConfigError(_nothing(room, round(room.expected(most)), "about ", most))
    made: list[tuple[float, int, Run]] = []
    turns = Turns(Clock(None) if clock is None else clock)

    def size_at(sparsity: float) -> int:
        kind = made[-1][2].choice.kind if made else None
        with turns.turn():
            found = run(setup.at(sparsity), networks.renewed(), kind)
        made.append((sparsity, room.measure(found), found))
        return made[-1][1]

    def expected(sparsity: float) -> float:
        """Return what is foreseen, times what the last run took of what was foreseen for it."""
        off = made[-1][1] / room.expected(made[-1][0]) if made else 1.0
        return off * room.expected(sparsity)

    def goes_on() -> bool:
        has_one = any(size <= room.flash for _, size, _ in made)
        return (len(made) < FIT_RUNS or not has_one) and turns.go_on()

    find_smallest(room.flash, size_at, expected, most, least, goes_on)
    fitting = [entry for entry in made if entry[1] <= room.flash]
    if not fitting:
        sparsity, size, _ = min(made, key=lambda entry: entry[1])
        raise ConfigError(_nothing(room, size, "", sparsity))
    sparsity, _, best = min(fitting, key=lambda entry: entry[0])
    runs = tuple({"sparsity": s, "flash_bytes": float(size)} for s, size, _ in made)
    return best, TargetRecord({"flash_bytes": float(room.flash)}, True, sparsity, runs)


def _nothing(room: Room, size: int, about: str, sparsity: float) -> str:
    return (
        f"nothing fits {room.chip}: with {100 * sparsity:.3g} % zeros the code takes {about}"
        f"{size:,} of {room.flash:,} B of flash; take a larger part or a smaller network"
    )
