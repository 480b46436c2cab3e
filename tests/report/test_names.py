"""Names of a table are told apart at any width that leaves room for it."""

from __future__ import annotations

import pytest
from rich.console import Console

from onnx_lobs.report.names import cut_front, cut_words, fit_names
from onnx_lobs.report.table import Name, plain_table

BLOCKS = tuple(
    f"/_blocks.{block}/_{part}_conv/Conv"
    for block in range(16)
    for part in ("expand", "depthwise", "project")
)
ENCODER = tuple(
    f"/model/encoder/layer.{layer}/{part}/MatMul"
    for layer in range(12)
    for part in ("attention/self/query", "attention/self/key", "attention/output/dense", "output")
)
PORTS = tuple(f"Conv_{i}_quant" for i in range(50))


@pytest.mark.parametrize("width", [14, 16, 20, 24, 40])
@pytest.mark.parametrize("names", [BLOCKS, ENCODER, PORTS], ids=["blocks", "encoder", "flat"])
def test_no_two_names_look_alike_and_none_is_too_wide(names: tuple[str, ...], width: int) -> None:
    fitted = fit_names(names, width)
    assert len(set(fitted)) == len(names)
    assert max(map(len, fitted)) <= width


def test_names_that_fit_are_left_alone() -> None:
    assert fit_names(("/model/a", "/model/b"), 8) == ("/model/a", "/model/b")


def test_what_all_share_is_left_out_before_anything_else() -> None:
    assert fit_names(("/model/a/MatMul", "/model/b/MatMul"), 10) == ("…a…", "…b…")


@pytest.mark.parametrize("width", range(5))
def test_there_is_something_at_any_width(width: int) -> None:
    assert all(len(name) <= width for name in fit_names(BLOCKS, width))
    assert len(cut_front("/a/b/c/d/e", width)) == width


def test_numbers_stay_whole_where_words_are_cut() -> None:
    assert cut_words("/layer.1234/attention", 12) == "/la.1234/at"


def table_of(names: tuple[str, ...]) -> object:
    table = plain_table("t")
    table.add_column("name", min_width=Name.least)
    table.add_column("figures", no_wrap=True)
    for name in names:
        table.add_row(Name(name, names), "1" * 50)
    return table


def printed(*, is_terminal: bool) -> list[str]:
    console = Console(width=80, force_terminal=is_terminal, color_system=None)
    with console.capture() as capture:
        console.print(table_of(BLOCKS), crop=False)
    return [line.split()[0] for line in capture.get().splitlines()[2:]]


def test_a_terminal_of_80_columns_tells_48_layers_apart() -> None:
    assert len(set(printed(is_terminal=True))) == len(BLOCKS)


def test_a_pipe_gets_whole_names() -> None:
    assert printed(is_terminal=False) == list(BLOCKS)


@pytest.mark.parametrize("width", [60, 80, 90])
def test_names_are_whole_in_a_pipe_beside_columns_that_could_give_room(width: int) -> None:
    table = plain_table("t")
    table.add_column("name", min_width=Name.least)
    table.add_column("times better", justify="right")
    table.add_column("figures", no_wrap=True)
    for name in BLOCKS:
        table.add_row(Name(name, BLOCKS), "1.3x", "1" * 40)
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(table, crop=False)
    assert all(any(name in line for line in capture.get().splitlines()) for name in BLOCKS)
