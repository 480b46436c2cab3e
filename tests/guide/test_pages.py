"""The pages are short, begin alike, and name only what there is."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
from pathlib import Path

import pytest
from pages import GUIDE, PAGES, ROOT, blocks, prose

from onnx_lobs.cli.help import is_long, program_help
from onnx_lobs.cli.main import main
from onnx_lobs.cli.verbs import VERBS

PACKAGE = ROOT / "onnx_lobs"
MOST_LINES = 150  # of the README: what a newcomer reads
TOPICS = (
    "architecture", "calibration", "changes", "citation", "command-line", "comparison",
    "contributing", "devices", "zeros", "exploring", "exporting", "faq", "memory", "methods",
    "microcontrollers", "python", "quantising", "reports", "results", "storage", "targets", "tour",
)  # fmt: skip
LANGUAGES = {"", "sh", "python", "pycon", "text"}  # of blocks; those of no other are looked into
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def slug(heading: str) -> str:
    """Return the anchor that viewers of Markdown give a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(found) for found in re.findall(r"^#+ (.+)$", prose(page), re.M)}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= MOST_LINES


def test_every_topic_has_a_page() -> None:
    assert set(TOPICS) <= {page.stem for page in GUIDE.glob("*.md")}


@each_page
def test_a_page_begins_with_a_heading_and_a_sentence(page: Path) -> None:
    heading, empty, *rest = page.read_text().splitlines()
    first = " ".join(rest[: rest.index("")])
    assert heading.startswith("# ")
    assert not empty
    assert first[0].isalnum() or first[0] == "`"
    assert first.endswith(".")


@each_page
def test_code_blocks_say_what_they_hold(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= LANGUAGES


@each_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), target


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {Path(target).stem for target in LINK.findall(prose(ROOT / "README.md"))}
    assert {page.stem for page in GUIDE.glob("*.md")} <= linked


@pytest.fixture(scope="module")
def options() -> set[str]:
    """Every option of every verb, as the command line's own help has them."""
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        for verb in VERBS:
            for wanted in ("--help", *(["--help-all"] if is_long(verb) else [])):
                with contextlib.redirect_stdout(shown), pytest.raises(SystemExit):
                    main([verb.name, wanted])
        shown.write(program_help(VERBS))
    return set(re.findall(r"--[a-z][a-z-]*", shown.getvalue()))


@each_page
def test_options_that_are_named_exist(page: Path, options: set[str]) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", prose(page)))
    assert named <= options


@each_page
def test_files_and_modules_that_are_named_exist(page: Path) -> None:
    quoted = re.findall(r"`([^`\s]+)`", prose(page))
    for name in quoted:
        if re.fullmatch(r"(tools|tests|models|onnx_lobs)/[\w./-]*", name):
            assert (ROOT / name).exists(), name
        elif re.fullmatch(r"onnx_lobs(\.\w+)+", name):
            assert is_importable(name), name


def is_importable(name: str) -> bool:
    """Whether a dotted name is a module, or something that a module holds."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, last = name.rpartition(".")
        return hasattr(importlib.import_module(module), last)
    return True


def test_the_tree_of_folders_is_as_it_is() -> None:
    text = next(b.text for b in blocks(GUIDE / "architecture.md") if "onnx_lobs/\n" in b.text)
    named: set[str] = set()
    folder = ""
    for line in text.splitlines()[1:]:
        depth, entry = len(line) - len(line.lstrip()), line.split()[0]
        assert depth in (2, 4), line
        folder = entry if depth == 2 else folder
        named.add(entry if depth == 2 else folder + entry)
    assert named == real_entries()


def real_entries() -> set[str]:
    """Return the entries at the top of the package, and the folders inside those."""
    top = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    inner = [sub for path in top if path.is_dir() for sub in path.iterdir() if sub.is_dir()]
    found = {path.name + "/" * path.is_dir() for path in top}
    return found | {f"{p.parent.name}/{p.name}/" for p in inner if p.name != "__pycache__"}
