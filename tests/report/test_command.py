"""The command of a report repeats its run, and can be changed."""

from __future__ import annotations

import dataclasses

import pytest

from onnx_lobs.options.config import OPTIONS, PruneConfig
from onnx_lobs.options.option import to_plain
from onnx_lobs.report.command import changed, command_of, typed

HEAD = ("onnx-lobs", "m.onnx", "--data", "d.npz")


def of(config: PruneConfig, *always: str) -> tuple[str, ...]:
    return command_of(HEAD, OPTIONS.values(), to_plain(config), always)


def test_options_at_their_defaults_are_left_out_but_those_that_always_stand_there() -> None:
    assert of(PruneConfig(sparsity=0.8)) == (*HEAD, "--sparsity", "0.8")
    assert of(PruneConfig(sparsity=0.8), "seed") == (*HEAD, "--sparsity", "0.8", "--seed", "0")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"refit": False}, ("--no-refit",)),
        ({"sequential": False}, ("--independent",)),
        ({"exclude": ("a", "b")}, ("--exclude", "a", "--exclude", "b")),
        ({"exclude": ("-a",)}, ("--exclude=-a",)),
        ({"layer_sparsity": {"*": 0.5}}, ("--layer-sparsity", "*=0.5")),
        ({"positions": None}, ("--positions", "all")),
        ({"storage": "sparse"}, ("--format", "sparse")),
        ({"bound": True}, ("--bound",)),
    ],
)
def test_an_option_stands_as_the_command_line_takes_it(
    options: dict[str, object], words: tuple[str, ...]
) -> None:
    config = dataclasses.replace(PruneConfig(), **options)  # type: ignore[arg-type]
    assert of(config) == (*HEAD, *words)
    assert to_plain(config) != to_plain(PruneConfig())


def test_a_changed_command_loses_an_option_with_its_value_and_may_replace_its_file() -> None:
    words = ("onnx-lobs", "m", "--sparsity", "0.9", "--data", "--sparsity.npz")
    assert changed(words, "--effort", "best", drop=("--sparsity",)) == (
        *("onnx-lobs", "m", "--data", "--sparsity.npz"),
        *("--effort", "best", "--overwrite"),
    )
    assert changed(words, overwrite=False) == words
    assert changed(("onnx-lobs", "m", "--data=-d"), drop=("--data",), overwrite=False) == words[:2]
    assert changed((*words, "--overwrite")) == (*words, "--overwrite")


def test_a_command_is_typed_with_quotes_where_the_shell_needs_them() -> None:
    assert typed(("onnx-lobs", "my model.onnx", "--exclude", "*fc*")) == (
        "onnx-lobs 'my model.onnx' --exclude '*fc*'"
    )
