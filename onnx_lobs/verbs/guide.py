"""Finds the pages of the guide, which are shipped with the package."""

from __future__ import annotations

import difflib
from importlib.resources import files

from onnx_lobs.errors import ConfigError

_SUFFIX = ".md"


def list_topics() -> dict[str, str]:
    """Return the title of each page by its topic, in alphabetical order."""
    return {topic: page.partition("\n")[0].lstrip("# ") for topic, page in _pages().items()}


def read_topic(topic: str) -> str:
    """Return a page of the guide, in Markdown.

    Raises
    ------
    ConfigError
        When there is no such page; the message names those that are near, or all.
    """
    pages = _pages()
    if topic not in pages:
        near = difflib.get_close_matches(topic, pages)
        remedy = f"did you mean {' or '.join(near)}?" if near else f"choose {' or '.join(pages)}"
        raise ConfigError(f"guide topic {topic!r} is unknown; {remedy}")
    return pages[topic]


def _pages() -> dict[str, str]:
    """Return all pages by topic; they are small."""
    folder = files("onnx_lobs") / "guide"
    found = {
        entry.name.removesuffix(_SUFFIX): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(_SUFFIX)
    }
    return dict(sorted(found.items()))
