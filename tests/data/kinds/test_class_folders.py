"""Folders are classes by a file, by number, or by their count; else a line says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onnx_lobs.data.kinds.class_folders import folder_labels, read_classes
from onnx_lobs.data.kinds.request import LabelNeed, Place, Request
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.options.samples import SampleOptions

ROOT = Path("/data/val")


def labels(names: list[str], **request: Any) -> list[int] | None:
    place = Place("val", ROOT, tuple(ROOT / name for name in names))
    classes = request.pop("classes", None)
    options = SampleOptions(classes=None if classes is None else str(classes))
    given = {"labels": LabelNeed.NEEDED, **request}
    found = folder_labels(
        place, Request(inputs=(), samples=None, batch_size=1, options=options, **given)
    )
    return None if found.labels is None else found.labels.tolist()


def test_as_many_folders_as_classes_are_these_in_alphabetical_order() -> None:
    assert labels(["cat/1.jpg", "ant/x/2.jpg", "cat/3.jpg"], n_classes=2) == [1, 0, 1]


def test_numbers_are_classes_whatever_their_count() -> None:
    assert labels(["7/1.jpg", "012/2.jpg"], n_classes=1000) == [7, 12]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.txt", "ant\nbee\n\ncat\n"),
        ("c.csv", "cat,2\nant,0\nbee,1\n"),
        ("c.csv", "name,index\ncat,2\nant,0\n"),
        ("c.txt", "ant, insect, six legs\nbee of honey\ncat that purrs\n"),
        ("c.json", '["ant", "bee", "cat"]'),
        ("c.json", '{"ant": 0, "cat": 2}'),
        ("c.json", '{"0": ["n01", "ant"], "2": ["n03", "cat"]}'),
        ("c.json", '{"0": "ant", "2": "cat"}'),
    ],
)
def test_a_file_says_which_class_a_folder_is(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    found = labels(["cat/1.jpg", "ant/2.jpg"], classes=tmp_path / name, n_classes=1000)
    assert found == [2, 0]


@pytest.mark.parametrize(
    ("names", "n_classes", "match"),
    [
        (["cat/1.jpg", "ant/2.jpg"], 10, r"val has no labels: there are 2 folders, and the model "
         r"has 10 classes; .* --classes FILE"),
        (["cat/1.jpg", "ant/2.jpg"], None, "the model has an unknown number of classes"),
        (["cat/1.jpg", "2.jpg"], 2, r"2.jpg lies in no folder of a class"),
        (["1.jpg", "2.jpg"], 2, r"1.jpg lies in no folder of a class"),
    ],
)  # fmt: skip
def test_folders_that_are_no_classes(names: list[str], n_classes: int | None, match: str) -> None:
    with pytest.raises(DataError, match=match):
        labels(names, n_classes=n_classes)
    assert labels(names, n_classes=n_classes, labels=LabelNeed.UNUSED) is None


def test_a_note_says_why_welcome_labels_are_missing_but_not_of_plain_folders() -> None:
    def notes(*names: str) -> tuple[str, ...]:
        request = Request(
            inputs=(), samples=None, batch_size=1, labels=LabelNeed.WELCOME, n_classes=9
        )
        return folder_labels(Place("val", ROOT, tuple(map(ROOT.joinpath, names))), request).notes

    (note,) = notes("cat/1.jpg", "ant/2.jpg")
    assert "there are 2 folders, and the model has 9 classes" in note
    assert notes("1.jpg", "2.jpg") == ()


def test_a_folder_that_the_file_does_not_know_or_knows_twice(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("crane\nbee\ncrane\n")
    with pytest.raises(DataError, match=r"folder 'been' is no class of .*; did you mean 'bee'"):
        labels(["been/1.jpg"], classes=tmp_path / "c.txt")
    with pytest.raises(DataError, match=r"gives 'crane' to the classes 0 and 2; name folders by"):
        labels(["crane/1.jpg"], classes=tmp_path / "c.txt")


@pytest.mark.parametrize(
    ("name", "content"),
    [("c.json", b"{"), ("c.json", b"3"), ("c.json", b'{"a": [1]}'), ("c", b"\xff")],
)
def test_a_file_of_classes_that_is_none_is_refused(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=r"classes .* cannot be read .*; write one name a line"):
        read_classes(tmp_path / name)
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file"):
        read_classes(tmp_path / "none")
