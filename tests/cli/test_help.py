"""Help fits a screen, names everything behind ``--help-all``, and shells complete names."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import onnx_lobs
from onnx_lobs.cli.help import EXAMPLES, FEW, WIDTH, is_long, program_help, short_help
from onnx_lobs.cli.main import main
from onnx_lobs.cli.verb import NAMED, Verb
from onnx_lobs.cli.verbs import VERBS
from onnx_lobs.options.prose import flags_of, long_flag

LINES = 24  # of the smallest terminal
LONG = [verb for verb in VERBS if is_long(verb)]
ATTEMPTS = 5  # other programs run at the same time; the quickest counts
START, IMPORT = 0.3, 0.1  # seconds of processor


def shown(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(args)
    assert exit_.value.code == 0
    return capsys.readouterr().out


def test_the_help_of_the_program_fits_a_screen_with_three_examples() -> None:
    lines = program_help(VERBS).splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= WIDTH
    assert sum(line.strip() in EXAMPLES for line in lines) == 3
    for verb in VERBS:
        assert any(line.split()[:1] == [verb.name] for line in lines)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_a_verb_says_in_one_line_what_it_does(verb: Verb) -> None:
    assert "..." not in next(
        line for line in program_help(VERBS).splitlines() if line.split()[:1] == [verb.name]
    )


@pytest.mark.parametrize("verb", LONG, ids=lambda verb: verb.name)
def test_the_help_of_a_long_verb_fits_a_screen_and_names_the_rest(
    verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, verb.name, "--help")
    assert text.strip() == short_help(verb, NAMED)
    assert len(text.splitlines()) <= LINES
    assert max(map(len, text.splitlines())) <= WIDTH
    assert f"onnx-lobs {verb.name} --help-all" in text


@pytest.mark.parametrize("verb", LONG, ids=lambda verb: verb.name)
def test_all_options_are_shown_in_their_panels(
    verb: Verb, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    text = shown(capsys, verb.name, "--help-all")
    for option in verb.options:
        if not option.is_argument:
            assert f"{long_flag(option)} " in text
    assert all(f" {option.panel} " in text for option in verb.ordered() if option.panel)


def test_prune_shows_ten_options() -> None:
    prune = next(verb for verb in VERBS if verb.name == "prune")
    lines = short_help(prune, NAMED).splitlines()
    assert sum(line.startswith("  -") for line in lines) == 10
    assert len(prune.options) > FEW


def completed(*words: str) -> list[str]:
    """Return what a shell offers for the last word."""
    done = subprocess.run(
        [sys.executable, "-m", "onnx_lobs"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(onnx_lobs.__file__).parents[1],
        env={
            **os.environ,
            "_ONNX_LOBS_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(("onnx-lobs", *words)),
            "COMP_CWORD": str(len(words)),
        },
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("ev",), ["evaluate"]),
        (("m.onnx", "--method", "spar"), ["sparsegpt"]),
        (("prune", "m.onnx", "--effort", ""), ["fast", "default", "best"]),
        (("m.onnx", "--exc"), ["--exclude"]),
        (("m.onnx", "-d", "calib"), []),  # the shell then offers files
    ],
)
def test_a_shell_completes_verbs_options_and_choices(
    words: tuple[str, ...], offered: list[str]
) -> None:
    assert completed(*words) == offered


def seconds(*args: str) -> float:
    """Return the least processor time of several starts."""
    found = []
    for _ in range(ATTEMPTS):
        before, started = os.times(), time.perf_counter()
        subprocess.run([sys.executable, *args], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        used = after.children_user - before.children_user
        used += after.children_system - before.children_system
        found.append(min(used, time.perf_counter() - started))
    return min(found)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_program_starts_quickly(option: str) -> None:
    assert seconds("-m", "onnx_lobs", option) <= START


@pytest.mark.slow
def test_the_package_is_imported_quickly() -> None:
    assert seconds("-c", "import onnx_lobs") - seconds("-c", "") <= IMPORT


def test_flags_are_named_once() -> None:
    for verb in VERBS:
        flags = [flag for option in verb.options for flag in flags_of(option)]
        assert len(flags) == len(set(flags))
