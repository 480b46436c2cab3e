"""What is written from the declarations of the options is not stale."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from onnx_lobs.cli.verbs import VERBS
from onnx_lobs.options.keywords import EvaluateOptions, PruneOptions
from onnx_lobs.options.prose import flags_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_reference", ROOT / "tools/make_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_and_the_types_are_what_the_declarations_give(tool: ModuleType) -> None:
    for path, text in tool.texts().items():
        assert path.read_text(encoding="utf-8") == text, "run python tools/make_reference.py"


def test_the_page_lists_every_verb_and_option(tool: ModuleType) -> None:
    sections = tool.page().split("\n## ")
    for verb, section in zip(VERBS, sections[1:], strict=False):
        assert section.startswith(f"{verb.name}\n")
        for option in verb.options:
            assert option.is_argument or flags_of(option)[-1].split("/")[0] in section


def test_nothing_is_marked_in_the_page_but_code_and_names(tool: ModuleType) -> None:
    for line in tool.page().splitlines():
        outside = line.removeprefix("- **").split("`")[::2]
        assert not any("*" in part.removeprefix("**:") or "_" in part for part in outside), line


def test_keywords_are_all_options(tool: ModuleType) -> None:
    assert list(PruneOptions.__annotations__) == list(tool.OPTIONS)
    assert set(EvaluateOptions.__annotations__) == set(tool.COMPARE_OPTIONS) - set(tool.OWN)
