"""One text serves the command line and Python; options stand in it by their names."""

from __future__ import annotations

import re

import pytest

from onnx_lobs import PruneConfig
from onnx_lobs.cli.verb import NAMED
from onnx_lobs.options.config import OPTIONS
from onnx_lobs.options.limits import Limits
from onnx_lobs.options.option import Option
from onnx_lobs.options.prose import documents_options, flags_of, help_text, python_text, with_flags


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("with `memory`, `input_shapes`", "with --memory, --input-shape"),
        ("`storage` sparse", "--format sparse"),
        ("`sequential` or `sequential=False`", "--sequential or --independent"),
        ("not `refit=False`", "not --no-refit"),
        ("see `sparsity`, *memory*", "see --sparsity, *memory*"),
    ],
)
def test_the_command_line_shows_its_own_names(text: str, shown: str) -> None:
    assert with_flags(text, OPTIONS) == shown
    assert with_flags(text, OPTIONS, quote="`") == re.sub("--[a-z-]+", r"`\g<0>`", shown)


def test_a_text_that_names_no_option_is_found() -> None:
    with pytest.raises(KeyError, match="memry"):
        with_flags("see `memry`", OPTIONS)


@pytest.mark.parametrize("option", NAMED.values(), ids=lambda option: option.name)
def test_texts_name_options_that_there_are(option: Option) -> None:
    for text in (help_text(option), option.more):
        assert "`" not in with_flags(text, NAMED)


def test_help_says_what_none_is_and_what_may_be_repeated() -> None:
    assert help_text(OPTIONS["samples"]) == "Most samples of `data` used. Default: all."
    assert help_text(OPTIONS["exclude"]).endswith(" Repeatable.")
    assert python_text(OPTIONS["samples"]) == "Most samples of `data` used. None: all."
    assert "A tuple such as `('*fc*',)`." in python_text(OPTIONS["exclude"])


def test_names_on_the_command_line_are_those_of_the_fields_where_nothing_else_is_said() -> None:
    assert flags_of(OPTIONS["batch_size"]) == ("--batch-size",)
    assert flags_of(OPTIONS["sparsity"]) == ("-s", "--sparsity")


def test_records_list_their_options_before_what_they_raise() -> None:
    for record, names in ((PruneConfig, list(OPTIONS)), (Limits, ["max_drop", "min_sparsity"])):
        text = record.__doc__ or ""
        places = [text.index(f"\n{name} : ") for name in names]
        assert places == sorted(places)
        assert text.index("Parameters\n---") < places[0] < places[-1] < text.index("Raises\n---")


def test_a_record_without_a_docstring_gets_none() -> None:
    bare = type("Bare", (), {})
    assert documents_options(bare).__doc__ is None
