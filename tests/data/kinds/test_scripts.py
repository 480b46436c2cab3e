"""A function of the user yields batches, and is called for each pass over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnx_lobs.data.batches import Batches
from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.data.reader import open_data
from onnx_lobs.errors import ConfigError, DataError

GOOD = """
import numpy as np

CALLS = []

def batches():
    CALLS.append(0)
    for i in range(4):
        yield {"x": np.full((2, 3), i, np.float32)}

def labelled():
    for i in range(2):
        yield {"x": np.full((2, 3), i, np.float32)}, np.array([i, 1])

def reused():
    held = np.zeros((2, 3), np.float32)
    for i in range(3):
        held[:] = i
        yield {"x": held}

def drifting():
    CALLS.append(0)
    for i in range(2):
        yield {"x": np.full((2, 3), len(CALLS) + i, np.float32)}

def shrinking():
    CALLS.append(0)
    for i in range(3 if len(CALLS) == 1 else 1):
        yield {"x": np.full((2, 3), i, np.float32)}

def failing():
    yield {"x": np.zeros((2, 3), np.float32)}
    raise KeyError("no more")

def needy(folder):
    yield {}
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "feeds.py"
    path.write_text(GOOD)
    return path


def opened(path: Path, function: str, samples: int | None = None) -> Batches:
    inputs = [InputSpec("x", np.dtype("float32"), ("N", 3))]
    return open_data(f"{path}:{function}", inputs, samples=samples, batch_size=8)


def values(batches: Batches) -> list[float]:
    return [float(batch["x"][0, 0]) for batch in batches]


def test_every_pass_gives_the_same_batches(script: Path) -> None:
    batches = opened(script, "batches")
    assert batches.sizes == (2,) * 4
    assert values(batches) == values(batches) == [0, 1, 2, 3]
    assert [float(batches.load(i)["x"][0, 0]) for i in (3, 0, 2, 2)] == [3, 0, 2, 2]


def test_only_so_many_samples_are_taken(script: Path) -> None:
    assert values(opened(script, "batches", samples=4)) == [0, 1]


def test_labels_may_come_along(script: Path) -> None:
    labels = opened(script, "labelled").labels
    assert labels is not None
    assert labels.tolist() == [0, 1, 1, 1]


def test_a_buffer_may_be_used_again(script: Path) -> None:
    batches = opened(script, "reused")
    held = list(batches)
    assert [float(batch["x"][0, 0]) for batch in held] == [0, 1, 2]


@pytest.mark.parametrize(
    ("function", "match"),
    [("drifting", "yields another batch 0 when it is called again; .*seed"),
     ("shrinking", "yields 1 batches when it is called again")],
)  # fmt: skip
def test_another_pass_must_be_the_same(script: Path, function: str, match: str) -> None:
    batches = opened(script, function)
    with pytest.raises(DataError, match=match):
        list(batches)


def test_what_it_raises_takes_one_line(script: Path) -> None:
    with pytest.raises(DataError, match=r"raised KeyError: 'no more' \(feeds.py, line \d+\)"):
        opened(script, "failing")


@pytest.mark.parametrize(
    ("function", "match"),
    [
        ("needy", "takes folder; it must take nothing: write `def batches"),
        ("nothing", "feeds.py has no function 'nothing'; it has batches, labelled"),
    ],
)
def test_functions_of_another_form_are_refused(script: Path, function: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        opened(script, function)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no Python file .*none.py'; check the path"):
        opened(tmp_path / "none.py", "batches")
