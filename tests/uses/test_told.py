"""Odd uses that work: they say what is odd, and what to do about it."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
from uses.conftest import Told, Use

FAST = ("--allocation", "uniform", "--effort", "fast", "--min-weights", "8")
SCALED = ("--preset", "0-1")

WARNED = {
    "pixels in place of -1 to 1": (
        ["sure.onnx", "-d", "pixels.npz"],
        "'y' is 0 or 1 to the last digit .*check that the inputs are scaled .*'features' goes",
    ),
    "one sample": (["m.onnx", "-d", "one.npz"], "there is one sample .*give some hundred"),
    "samples of zero": (["m.onnx", "-d", "zero.npz"], "all 48 samples are zero.*check how"),
    "samples that are the same": (["m.onnx", "-d", "same.npz"], "samples are the same.*check how"),
    "few samples": (
        ["dynamic.onnx", "-d", "good.npz"],
        "fewer observations than inputs in 1 of 1 layers .*give more",
    ),
    "a network of int8 weights": (
        ["dynamic.onnx", "-d", "good.npz"],
        "80.0 % of the weights are quantised .*prune the float model, then quantise",
    ),
    "labels of another order": (
        ["m.onnx", "-d", "good.npz", "--test", "flipped.npz"],
        "no better than guessing among 8 classes: .*check that the labels are class indices",
    ),
    "labels that are one-hot": (
        ["m.onnx", "-d", "good.npz", "--test", "one_hot.npz"],
        "were one-hot: the place of the one was taken as the class",
    ),
    "no data": (["m.onnx"], "no calibration data .*give real inputs with -d"),
    "pictures and texts": (
        ["image.onnx", "-d", "mixed", *SCALED],
        "only the pictures in mixed are read, not texts.txt; .*give their path",
    ),
    "pictures without a scale": (
        ["image.onnx", "-d", "pictures"],
        "pictures were scaled by --preset .*give --preset, or --mean and --std",
    ),
    "one picture without a scale": (
        ["image.onnx", "-d", "pictures/1.jpg"],
        "--preset 0-1 .* a guess, as nothing in the model tells: .*give --preset",
    ),
}

WORKS = {
    "a share in per cent": ["m.onnx", "-d", "good.npz", "-s", "80%"],
    "a share with a comma": ["m.onnx", "-d", "good.npz", "-s", "0,8"],
    "a method in capitals": ["m.onnx", "-d", "good.npz", "--method", "SparseGPT"],
    "a folder of pictures": ["image.onnx", "-d", "pictures", *SCALED],
    "one picture": ["image.onnx", "-d", "pictures/0.jpg", *SCALED],
    "a pattern of pictures": ["image.onnx", "-d", "pictures/1*.jpg", *SCALED],
    "a folder of sounds": ["speech.onnx", "-d", "sounds", "--sample-rate", "16000"],
    "texts": ["encoder.onnx", "-d", "texts.txt"],
    "a table": ["table.onnx", "-d", "rows.csv", "--label-column", "kind"],
    "a scalar input and the batch on axis 1": ["state.onnx", "-d", "states.npz"],
}


def pruned(use: Use, out: Path, words: list[str]) -> Told:
    """See that a model was pruned and written."""
    told = use(*words, *FAST, "-q", "-o", out)
    assert told.code == 0, told.err
    assert "error: " not in told.err
    onnx.checker.check_model(onnx.load(out))
    return told


@pytest.mark.parametrize("case", WARNED)
def test_what_is_odd_is_said_with_a_remedy(use: Use, tmp_path: Path, case: str) -> None:
    words, message = WARNED[case]
    told = pruned(use, tmp_path / "o.onnx", words)
    assert any(re.search(message, line) for line in told.warnings), told.warnings


@pytest.mark.parametrize("case", WORKS)
def test_what_people_write_works(use: Use, tmp_path: Path, case: str) -> None:
    pruned(use, tmp_path / "o.onnx", WORKS[case])


def test_good_data_and_labels_are_not_warned_of(use: Use, tmp_path: Path) -> None:
    words = ["m.onnx", "-d", "good.npz", "--test", "labelled.npz"]
    assert pruned(use, tmp_path / "o.onnx", words).warnings == []


def test_zeros_of_quantised_weights_count(use: Use) -> None:
    told = use("evaluate", "int8.onnx", "int8.onnx", "-d", "good.npz")
    stored = onnx.numpy_helper.to_array(onnx.load("int8.onnx").graph.initializer[0])
    zeros = (stored == 0).sum()
    assert told.code == 0
    assert f"{zeros:,} of {stored.size:,}" in told.out


def test_models_in_the_wrong_order_are_noticed(use: Use, tmp_path: Path) -> None:
    pruned(use, tmp_path / "o.onnx", ["m.onnx", "-d", "good.npz"])
    told = use("evaluate", tmp_path / "o.onnx", "m.onnx", "-d", "good.npz", "-q")
    assert "more zeros (128 of 256)" in told.warnings[0]
    assert "were they swapped?" in told.warnings[0]
    right = use("evaluate", "m.onnx", tmp_path / "o.onnx", "-d", "good.npz", "-q")
    assert right.warnings == []


def test_a_sparse_file_stays_sparse_and_says_who_cannot_read_it(use: Use, tmp_path: Path) -> None:
    once, twice = tmp_path / "a.onnx", tmp_path / "b.onnx"
    told = use("m.onnx", "-d", "good.npz", "-s", "0.9", "--format", "sparse", "-o", once, *FAST)
    words = " ".join(told.out.split())
    assert re.search(r"OpenVINO, .* cannot read them; .*quantise first, .*expand", words)
    pruned(use, twice, [str(once), "-d", "good.npz", "-s", "0.95"])
    assert len(onnx.load(twice).graph.sparse_initializer) > 0


def test_names_are_whole_in_a_pipe_and_can_be_excluded(use: Use, tmp_path: Path) -> None:
    words = ("names.onnx", "-d", "good.npz", *FAST)
    told = use(*words, "-o", tmp_path / "o.onnx")
    names = [node.name for node in onnx.load("names.onnx").graph.node]
    assert all(name in told.out for name in names)
    left = use(*words, "--exclude", names[0], "-o", tmp_path / "p.onnx")
    assert left.code == 0
    assert "excluded by name" in left.out


def test_a_fixed_transform_is_left_and_listed(use: Use, tmp_path: Path) -> None:
    told = use("fourier.onnx", *FAST, "-v", "-o", tmp_path / "o.onnx")
    before, after = (
        next(t for t in onnx.load(path).graph.initializer if t.name == "basis")
        for path in ("fourier.onnx", tmp_path / "o.onnx")
    )
    assert before == after
    assert re.search(r"dft .*", told.out)
    assert "transform" in told.out


def test_a_large_drop_ends_with_the_next_command(use: Use, tmp_path: Path) -> None:
    told = use(
        "m.onnx", "-d", "good.npz", "--test", "labelled.npz", "-s", "0.9",
        "-o", tmp_path / "o.onnx", *FAST,
    )  # fmt: skip
    assert "next: " in told.out
    assert re.search(r"onnx-lobs m.onnx .*--max-drop", told.out)


def test_a_page_and_stages_in_plain_lines(use: Use, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    told = use(
        "image.onnx", "-d", "pictures", *SCALED, *FAST, "-o", tmp_path / "o.onnx", "--report", page
    )
    assert told.code == 0
    assert "1 of 3: calibrating" in told.err
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert "0.jpg" in page.read_text()  # the files of the samples that changed most
    assert "--preset" in page.read_text()


def test_a_dry_run_tells_the_range_of_the_inputs_and_the_time(use: Use, workshop: Path) -> None:
    before = sorted(workshop.rglob("*"))
    told = use("image.onnx", "-d", "pictures", *SCALED, "--dry-run")
    assert told.code == 0
    assert re.search(r"calibrate on +pictures \(24 samples\), .*image from 0 to 1", told.out)
    assert re.search(r"time +(about|less than)", told.out)
    assert sorted(workshop.rglob("*")) == before


def test_inspect_tells_the_range_of_data_that_are_given(use: Use) -> None:
    told = use("inspect", "image.onnx", "-d", "pictures", "--preset", "0-255")
    assert "data: pictures (24 samples), image from 0 to 255" in told.out
    assert "data:" not in use("inspect", "image.onnx").out


@pytest.mark.parametrize("verb", [pytest.param("sensitivity", marks=pytest.mark.slow), "compare"])
def test_verbs_that_look_around_take_pictures(use: Use, verb: str) -> None:
    more = [] if verb == "sensitivity" else ["--method", "magnitude", "--allocation", "uniform"]
    told = use(verb, "image.onnx", "-d", "pictures", *SCALED, "-s", "0.5", *more)
    assert told.code == 0
    assert "pictures (24 samples)" in told.out
