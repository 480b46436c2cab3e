"""Knows the flash and the memory of well-known microcontrollers, and says what fits them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from onnx_lobs.errors import ConfigError, did_you_mean

COMFORTABLE = 0.8  # of a memory: the rest of a firmware needs room too
_UNITS = {"": 1, "b": 1, "k": 1024, "kb": 1024, "kib": 1024, "m": 2**20, "mb": 2**20, "mib": 2**20}
_KB, _MB = 1024, 2**20


@dataclass(frozen=True)
class Chip:
    """A part: its name, and bytes of flash and of RAM; None where that is not looked at."""

    name: str
    flash: int | None
    ram: int | None


class Fit(Enum):
    """How a network fits a part."""

    FITS = "FITS"
    TIGHT = "TIGHT"
    TOO_BIG = "TOO BIG"


# from the makers' data sheets: the largest contiguous RAM, external flash where there is no other
CHIPS: Mapping[str, Chip] = {
    chip.name: chip
    for chip in (
        Chip("atsamd21g18", 256 * _KB, 32 * _KB),
        Chip("esp32-c3", 4 * _MB, 400 * _KB),
        Chip("nrf52832", 512 * _KB, 64 * _KB),
        Chip("nrf52840", 1 * _MB, 256 * _KB),
        Chip("rp2040", 2 * _MB, 264 * _KB),
        Chip("stm32f103c8", 64 * _KB, 20 * _KB),
        Chip("stm32f407vg", 1 * _MB, 128 * _KB),
        Chip("stm32f411re", 512 * _KB, 128 * _KB),
        Chip("stm32f746zg", 1 * _MB, 320 * _KB),
        Chip("stm32g071rb", 128 * _KB, 36 * _KB),
        Chip("stm32h743zi", 2 * _MB, 512 * _KB),
        Chip("stm32l432kc", 256 * _KB, 64 * _KB),
    )
}


def read_chip(text: str) -> Chip:
    """Return the part that a text names, or describes as ``flash=1MB,ram=256KB``.

    >>> read_chip("flash=64KB")
    Chip(name='flash=64KB', flash=65536, ram=None)

    Raises
    ------
    ConfigError
        The name is unknown, or a size cannot be read.
    """
    if text.lower() in CHIPS:
        return CHIPS[text.lower()]
    if "=" not in text:
        raise ConfigError(
            f"chip {text!r} is unknown; {did_you_mean(text, CHIPS)}name one of "
            f"{', '.join(CHIPS)}, or write flash=1MB,ram=256KB"
        )
    sizes: dict[str, int] = {}
    for part in text.split(","):
        word, _, size = (piece.strip().lower() for piece in part.partition("="))
        if word not in ("flash", "ram") or word in sizes:
            raise ConfigError(f"chip {text!r} has {part!r}; write flash=1MB,ram=256KB")
        sizes[word] = _bytes(size, text)
    return Chip(text, sizes.get("flash"), sizes.get("ram"))


def _bytes(size: str, text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", size)
    if found is None or found[2] not in _UNITS or float(found[1]) == 0.0:
        raise ConfigError(f"chip {text!r} has the size {size!r}; write 64KB or 1MB, say")
    return math.floor(float(found[1]) * _UNITS[found[2]])


def judge_fit(chip: Chip, flash: int, ram: int) -> Fit:
    """Say whether what a network needs fits a part, with room for the rest of a firmware."""
    shares = [
        needed / there
        for needed, there in ((flash, chip.flash), (ram, chip.ram))
        if there is not None
    ]
    most = max(shares, default=0.0)
    if most > 1.0:
        return Fit.TOO_BIG
    return Fit.TIGHT if most > COMFORTABLE else Fit.FITS
