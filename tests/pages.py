"""The README and the pages of the guide, taken apart: code blocks, commands, prose."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "onnx_lobs" / "guide"  # not the installed one, whose links lead nowhere
PAGES = (ROOT / "README.md", *sorted(GUIDE.glob("*.md")))
PROGRAMS = ("onnx-lobs", "pip", "pytest", "python")
_INDENT = "    "
_INLINE = re.compile(r"`(onnx-lobs [^`]*)`")
_PLACEHOLDER = re.compile(r"\b[A-Z]+\b|[\[\]{}]")  # in the form of a command, which is no command


@dataclass(frozen=True)
class Block:
    """A piece of code in a page; the language of an indented one is empty."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def label(self) -> str:
        """Page and line, for the name of a test."""
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the fenced and the indented blocks of a page, in order."""
    found: list[Block] = []
    start, language, lines = 0, None, list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            if language is not None:
                found.append(Block(page, start, language, "\n".join(lines)))
            language = line[3:].strip() if language is None else None
            start, lines = number, []
        elif language is not None:
            lines.append(line)
        elif line.startswith(_INDENT):
            found.append(Block(page, number, "", line.strip()))
    assert language is None, f"{page.name}:{start}: a fence that does not end"
    return found


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


@dataclass(frozen=True)
class Command:
    """A command as a page has it: program and arguments, comments left out."""

    block: Block
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        """The command on one line."""
        return shlex.join(self.words)


def commands(page: Path) -> list[Command]:
    """Return every command in the blocks of a page, and in its sentences.

    One line may hold several, joined by &&. What has placeholders in a sentence is left out.
    """
    found = []
    for block in [*blocks(page), *_inline(page)]:
        if block.language not in ("", "sh"):
            continue
        for line in block.text.splitlines():
            parts = [shlex.split(part, comments=True) for part in line.split("&&")]
            found += [Command(block, tuple(p)) for p in parts if p and p[0] in PROGRAMS]
    return found


def _inline(page: Path) -> list[Block]:
    texts = [text for text in _INLINE.findall(prose(page)) if not _PLACEHOLDER.search(text)]
    return [Block(page, 0, "", text) for text in texts]
