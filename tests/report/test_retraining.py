"""The record of a retraining tells what was learnt, what stayed, and which state is returned."""

from __future__ import annotations

import dataclasses

import pytest

from onnx_lobs.report.retraining import Retraining, retraining_rows, retraining_sentence

RECORD = Retraining(
    model="nets/Small_V2.onnx",
    data="d.npz",
    samples=90,
    held_samples=10,
    towards="classes",
    move="all",
    layers=2,
    weights=1200,
    biases=30,
    zeros=800,
    of_weights=2000,
    steps=40,
    best=20,
    losses=((0, 2.0), (20, 1.5), (40, 1.75)),
    scores=(),
    seconds=1.0,
)


@pytest.mark.parametrize(
    ("towards", "aim"),
    [
        ("labels", "labels"),
        ("classes", "the dense model's classes"),
        ("outputs", "the dense model's outputs"),
    ],
)
def test_the_sentence_names_the_aim_and_keeps_the_letters_of_the_file(
    towards: str, aim: str
) -> None:
    record = dataclasses.replace(RECORD, towards=towards)
    sentence = f"Retrained nets/Small_V2.onnx towards {aim}."
    assert retraining_sentence(record) == sentence
    assert sentence.replace("_", r"\_") in record.to_markdown()


@pytest.mark.parametrize(
    ("best", "steps", "loss"),
    [(20, "40; best after 20", "loss 2 -> 1.5"), (0, "40; none was better than before", "2 -> 2")],
)
def test_it_tells_which_state_is_returned(best: int, steps: str, loss: str) -> None:
    rows = dict(retraining_rows(dataclasses.replace(RECORD, best=best)))
    assert rows["steps"] == steps
    assert rows["held out"].endswith(loss)


@pytest.mark.parametrize(
    ("before", "words", "tile"),
    [
        (None, "all stay", "all stayed"),
        (800, "all stay", "all stayed"),
        (500, "500 before, all of which stay", "was 25.0 %"),
    ],
)
def test_it_tells_whether_zeros_were_added(before: int | None, words: str, tile: str) -> None:
    record = dataclasses.replace(RECORD, zeros_before=before)
    assert dict(retraining_rows(record))["zeros"].endswith(words)
    pytest.importorskip("jinja2", reason="pages need jinja2")
    assert tile in record.to_html()
