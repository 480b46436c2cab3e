"""Files are of one kind, which a table knows; a new kind is a row of it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from onnx_lobs.data.batches import Batches, stacked_batches
from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.data.kinds.request import Place, Request
from onnx_lobs.data.kinds.table import (
    KINDS,
    DataKind,
    by_suffix,
    check_read,
    files_read,
    open_path,
    recognise,
)
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.options.samples import SAMPLE_OPTIONS, SampleOptions

X = InputSpec("x", np.dtype("float32"), ("N", 2))
REQUEST = Request(inputs=[X], samples=None, batch_size=4)
NAMES = {
    "a.npz": "arrays", "a.npy": "arrays", "a.jpg": "pictures", "a.PNG": "pictures",
    "a.webp": "pictures", "a.wav": "sounds", "a.flac": "sounds", "a.csv": "tables",
    "a.txt": "texts", "a.json": "inputs saved by Polygraphy",
}  # fmt: skip


def kind_of(source: object) -> str | None:
    found = recognise(source)
    return None if found is None else found[0].name


@pytest.mark.parametrize("name", NAMES)
def test_a_suffix_tells_the_kind(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    for source in (tmp_path / name, str(tmp_path), f"{tmp_path}/*", [tmp_path / name]):
        assert kind_of(source) == NAMES[name]


def test_test_sets_and_functions_are_kinds_too(tmp_path: Path) -> None:
    (tmp_path / "test_data_set_0").mkdir()
    (tmp_path / "test_data_set_0" / "input_0.pb").touch()
    (tmp_path / "a.jpg").touch()
    assert kind_of(tmp_path) == "test data sets"
    assert files_read(tmp_path) == [tmp_path / "test_data_set_0" / "input_0.pb"]
    assert kind_of(f"{tmp_path}/feeds.py:batches") == "a function of yours"
    assert files_read("feeds.py:batches") == [Path("feeds.py")]


def test_of_several_kinds_in_a_folder_the_first_of_the_table_is_read(tmp_path: Path) -> None:
    for name in ("a.json", "notes.txt", "b.csv"):
        (tmp_path / name).touch()
    assert kind_of(tmp_path) == "tables"
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "c.jpg").touch()
    assert files_read(tmp_path) == [tmp_path / "inner" / "c.jpg"]
    (tmp_path / "d.npz").touch()
    assert files_read(tmp_path) == [tmp_path / "d.npz"]


def test_a_pattern_or_list_of_several_kinds_is_refused(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.txt"):
        (tmp_path / name).touch()
    for source in (f"{tmp_path}/*", [tmp_path / "a.jpg", tmp_path / "b.txt"]):
        with pytest.raises(DataError, match=r"b.txt is not of the kind of .*a.jpg"):
            recognise(source)


def test_other_samples_in_a_folder_are_told_but_not_what_goes_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", x=np.zeros((3, 2), np.float32))
    for name in ("README.txt", "labels.txt", "names.txt"):
        Path(name).touch()
    given = dataclasses.replace(REQUEST, options=SampleOptions(classes="./names.txt"))
    assert open_path(tmp_path, given).notes == ()
    (note,) = open_path(tmp_path, REQUEST).notes
    assert "only the arrays in" in note
    assert "are read, not names.txt; if" in note


def test_a_new_kind_is_a_row(tmp_path: Path) -> None:
    """Numbers in a file of a suffix of its own, one sample a line."""

    def open_dots(place: Place, request: Request) -> Batches:
        rows = [
            [float(part) for part in line.split()]
            for path in place.files
            for line in path.read_text().splitlines()
        ]
        return stacked_batches(
            {"x": np.array(rows)},
            request.inputs,
            name=place.name,
            samples=None,
            batch_size=9,
            seed=0,
        )

    dots = DataKind("dots", by_suffix((".dots",)), open_dots, (), (".dots",))
    (tmp_path / "a.dots").write_text("1 2\n3 4\n")
    for source in (tmp_path, tmp_path / "a.dots"):
        (batch,) = open_path(source, REQUEST, (*KINDS, dots))
        assert batch["x"].tolist() == [[1, 2], [3, 4]]
        with pytest.raises(DataError, match=r"is of no kind that is read|holds nothing that is"):
            open_path(source, REQUEST)


def test_every_option_is_read_by_some_kind() -> None:
    assert {name for kind in KINDS for name in kind.reads} == set(SAMPLE_OPTIONS)


def test_options_that_the_data_do_not_obey_are_refused(tmp_path: Path) -> None:
    for name in ("a.npz", "a.jpg", "a.wav"):
        (tmp_path / name).touch()
    arrays, picture, sound = (tmp_path / name for name in ("a.npz", "a.jpg", "a.wav"))
    check_read(SampleOptions(), (arrays, None))
    check_read(SampleOptions(mean=(1.0,)), (arrays, picture))
    check_read(SampleOptions(classes="c.txt"), (sound, None))
    with pytest.raises(ConfigError, match=r"--channel-order was given, which pictures obey, but "
                       r"the data are arrays; leave it out"):  # fmt: skip
        check_read(SampleOptions(channel_order="bgr"), (arrays, None))
    with pytest.raises(ConfigError, match=r"--max-length was given, which sounds and texts obey, "
                       r"but the data are none of them"):  # fmt: skip
        check_read(SampleOptions(max_length=8), ({"x": np.zeros(2)},))


def test_a_preset_and_a_mean_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"preset is '0-1' and mean is \(1.0,\); give the preset"):
        check_read(SampleOptions(preset="0-1", mean=(1.0,)), (tmp_path / "a.jpg",))


@pytest.mark.parametrize("name", ["a.jpg", "a.txt", "a.csv", "a.json"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    for source in (tmp_path, tmp_path / name):
        with pytest.raises(DataError, match=rf"{name} is no regular file; give files"):
            open_path(source, REQUEST)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none does not exist; check the path"):
        open_path(tmp_path / "none", REQUEST)
