"""The command in a report does what was done: the options that it names are those of the run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import pytest
import typer

from onnx_lobs.cli.evaluate import EVALUATE
from onnx_lobs.cli.prune import PRUNE
from onnx_lobs.cli.repeat import repeat_command
from onnx_lobs.cli.verb import Verb, as_command


def values_of_command(verb: Verb, words: list[str]) -> dict[str, Any]:
    """Return the plain forms that a verb gets from a command line."""
    seen: dict[str, Any] = {}

    def run(values: Mapping[str, Any]) -> None:
        """Note the values."""
        seen.update(values)

    app = typer.Typer()
    app.command()(as_command(Verb(verb.name, run, verb.options)))
    app(words, standalone_mode=False)
    return seen


@pytest.mark.parametrize(
    ("verb", "line"),
    [
        (PRUNE, "m.onnx"),
        (PRUNE, "'a b'\\''c.onnx' -d 'd $HOME.npz' -s 80% --exclude 'x*' --exclude '-y' -q"),
        (PRUNE, "m.onnx --independent --no-refit --seed 3 --report r.html --report r.md --dry-run"),
        (PRUNE, "m.onnx --max-drop 0.01 --layer-sparsity 'fc*=0.7' --positions all"),
        (EVALUATE, "a.onnx b.onnx --max-drop 0.01 --check --json"),
    ],
)
def test_the_command_gives_the_same_values(verb: Verb, line: str) -> None:
    values = values_of_command(verb, shlex.split(line))
    program, name, *words = repeat_command(verb, values)
    assert (program, name) == ("onnx-lobs", verb.name)
    again = values_of_command(verb, words)
    assert again == values
    assert words[words.index("--seed") + 1] == str(values["seed"])


def test_a_file_is_never_taken_for_an_option() -> None:
    values = values_of_command(PRUNE, ["--", "-m.onnx"])
    assert repeat_command(PRUNE, values) == ("onnx-lobs", "prune", "./-m.onnx", "--seed", "0")


def test_defaults_are_left_out() -> None:
    values = values_of_command(PRUNE, ["m.onnx"])
    assert repeat_command(PRUNE, values) == ("onnx-lobs", "prune", "m.onnx", "--seed", "0")
