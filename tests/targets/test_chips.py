"""Parts by name or by their sizes, and what fits them."""

from __future__ import annotations

import pytest

from onnx_lobs.errors import ConfigError
from onnx_lobs.targets.chips import CHIPS, Chip, Fit, judge_fit, read_chip


@pytest.mark.parametrize(
    ("text", "flash", "ram"),
    [
        ("flash=1MB,ram=256KB", 2**20, 2**18),
        ("ram = 20kb", None, 20480),
        ("FLASH=0.5M", 2**19, None),
        ("nRF52840", 2**20, 2**18),
    ],
)
def test_a_part_is_named_or_described(text: str, flash: int | None, ram: int | None) -> None:
    found = read_chip(text)
    assert (found.flash, found.ram) == (flash, ram)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nrf5284", "did you mean 'nrf52840'"),
        ("flash=big", "has the size 'big'; write 64KB"),
        ("flash=0KB", "has the size '0kb'"),
        ("rom=1MB", "has 'rom=1MB'; write flash=1MB,ram=256KB"),
        ("flash=1MB,flash=2MB", "has 'flash=2MB'"),
    ],
)
def test_what_is_no_part_is_told_how_to_write_one(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_chip(text)


@pytest.mark.parametrize(
    ("flash", "ram", "fit"),
    [
        (800, 80, Fit.FITS),
        (801, 1, Fit.TIGHT),
        (1, 81, Fit.TIGHT),
        (1000, 100, Fit.TIGHT),
        (1001, 1, Fit.TOO_BIG),
        (1, 101, Fit.TOO_BIG),
    ],
)
def test_the_scarcer_memory_decides(flash: int, ram: int, fit: Fit) -> None:
    assert judge_fit(Chip("a part", 1000, 100), flash, ram) is fit


def test_what_is_not_known_of_a_part_is_not_judged() -> None:
    assert judge_fit(Chip("a part", None, 100), 10**9, 1) is Fit.FITS


def test_every_part_is_found_by_its_own_name() -> None:
    assert all(name == chip.name == name.lower() for name, chip in CHIPS.items())
