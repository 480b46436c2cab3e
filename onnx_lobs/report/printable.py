"""Shows what no page can hold: halves of characters, controls, marks that turn text around."""

from __future__ import annotations

import re

# C0 and C1 controls but tab and line feed, surrogates (bytes that are not UTF-8), marks of
# direction, and code points that are no characters
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


def printable(text: str) -> str:
    """Return a text that UTF-8, HTML and readers can take.

    >>> print(printable("caf\\udce9 \\x00"))
    caf\\udce9 \\x00
    """
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
