"""Numbers and names as people read them; the same in every form of report."""

from __future__ import annotations

import math

_POWERS = ("", "k", "M", "G", "T")
_UNITS = ("B", "kB", "MB", "GB", "TB")


def format_bytes(n_bytes: int) -> str:
    """Return a size in decimal units (1 kB = 1,000 B) with three digits.

    >>> format_bytes(999), format_bytes(999_999), format_bytes(1_068_321)
    ('999 B', '1.00 MB', '1.07 MB')
    """
    return _scaled(n_bytes, _UNITS)


def format_count(n: int) -> str:
    """Return a large number with three digits.

    >>> format_count(999), format_count(1_234), format_count(384_000_000)
    ('999', '1.23 k', '384 M')
    """
    return _scaled(n, _POWERS)


def format_error(error: float) -> str:
    """Return an error with three digits, in a compact form.

    >>> format_error(0.01234), format_error(1.2345e-5), format_error(0.0), format_error(12.0)
    ('0.0123', '1.23e-5', '0', '12.0')
    """
    if error == 0:
        return "0"
    if not math.isfinite(error):
        return str(error)
    if 9.995e-4 <= abs(error) < 999.5:
        return _three_digits(error)
    digits, _, exponent = f"{error:.2e}".partition("e")
    return f"{digits}e{int(exponent)}"


def format_gain(error: float, magnitude_error: float) -> str:
    """Return how many times smaller `error` is than that of magnitude pruning.

    >>> format_gain(0.1, 0.25), format_gain(0.1, 1.23), format_gain(0.2, 0.1)
    ('2.5x', '12x', '0.5x')
    >>> format_gain(0.0, 0.1), format_gain(0.0, 0.0), format_gain(1e-6, 1.0)
    ('>999x', '', '>999x')
    """
    if error == magnitude_error == 0:
        return ""
    gain = magnitude_error / error if error else math.inf
    if gain >= 999.5:
        return ">999x"
    return f"{gain:.0f}x" if gain >= 9.95 else f"{gain:.1f}x"


def format_change(before: int, after: int) -> str:
    """Return a change of size in words.

    >>> format_change(1000, 250), format_change(1000, 1001), format_change(100, 150)
    ('4.00x smaller', 'same size', '1.50x larger')
    """
    factor = max(before, after, 1) / max(min(before, after), 1)
    if factor < 1.005:
        return "same size"
    return f"{_three_digits(factor)}x {'smaller' if after < before else 'larger'}"


def format_score(score: float, error: float | None, *, is_fraction: bool) -> str:
    """Return a score and its standard error if that is known; shares in per cent.

    >>> format_score(0.98, 0.0014, is_fraction=True), format_score(0.5, None, is_fraction=True)
    ('98.00 ± 0.14 %', '50.00 %')
    >>> format_score(31.26, 0.52, is_fraction=False), format_score(0.98, None, is_fraction=False)
    ('31.2600 ± 0.5200', '0.9800')
    """
    factor, digits, unit = (100, 2, " %") if is_fraction else (1, 4, "")
    deviation = "" if error is None else f" ± {factor * error:.{digits}f}"
    return f"{factor * score:.{digits}f}{deviation}{unit}"


def format_score_change(change: float, error: float | None, *, is_fraction: bool) -> str:
    """Return a change of a score and its standard error if that is known; shares in points.

    >>> format_score_change(-0.0028, 0.001, is_fraction=True)
    '-0.28 ± 0.10 points'
    >>> format_score_change(0.5, None, is_fraction=False)
    '+0.5000'
    """
    text = format_score(change, error, is_fraction=is_fraction).replace(" %", " points")
    return text if change < 0 else f"+{text}"


def format_percent(zeros: int, weights: int) -> str:
    """Return a share with one decimal that never claims more than it is.

    >>> format_percent(1, 2), format_percent(99_999, 100_000), format_percent(0, 0)
    ('50.0 %', '99.9 %', '0.0 %')
    """
    share = zeros / weights if weights else 0.0
    text = f"{100 * share:.1f}"
    return "99.9 %" if text == "100.0" and zeros < weights else f"{text} %"


def shorten(name: str, width: int) -> str:
    """Cut the middle out of a name that is longer than `width` characters.

    >>> shorten("/model/encoder/layer.0/MatMul", 14)
    '/model…/MatMul'
    """
    if len(name) <= width:
        return name
    if width <= 1:
        return "…"[:width]
    head = (width - 1) // 2
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"


def percent(share: float) -> str:
    """Return a share in per cent, with as few digits as do.

    >>> percent(0.5), percent(0.975)
    ('50 %', '97.5 %')
    """
    return f"{100 * share:.6g} %" if math.isfinite(share) else "-"


def _scaled(n: int, units: tuple[str, ...]) -> str:
    """Return a number with three digits, in the largest unit in which it is one or more."""
    if n < 1000:
        return f"{n} {units[0]}".rstrip()
    value, unit = float(n), 0
    while value >= 999.5 and unit < len(units) - 1:
        value, unit = value / 1000, unit + 1
    return f"{_three_digits(value)} {units[unit]}"


def _three_digits(value: float) -> str:
    return f"{value:#.3g}".rstrip(".")
