"""Tables of numbers become samples: headers, labels, columns by name, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_lobs.data.batches import Batches
from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.data.reader import open_data
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.options.samples import SampleOptions


def spec(shape: Any = ("N", 2), name: str = "x", dtype: str = "float32") -> InputSpec:
    return InputSpec(name, np.dtype(dtype), shape)


def opened(
    folder: Path, text: str, *inputs: InputSpec, name: str = "t.csv", **options: Any
) -> Batches:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    n_classes = options.pop("n_classes", None)
    given = SampleOptions(**options)
    return open_data(
        path, inputs or [spec()], samples=None, batch_size=8, options=given, n_classes=n_classes
    )


def labels_of(batches: Batches) -> Any:
    return None if batches.labels is None else batches.labels.tolist()


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("t.csv", "1,2\n3,4\n", None),
        ("t.csv", "a,b\n1,2\n\n3,4\n", None),
        ("t.csv", "\ufeffa;label;b\n1;7;2\n3;0;4\n", [7, 0]),
        ("t.tsv", "y\ta\tb\n1\t1\t2\n0\t3\t4\n", [1, 0]),
    ],
)
def test_one_row_is_a_sample(tmp_path: Path, name: str, text: str, labels: Any) -> None:
    batches = opened(tmp_path, text, name=name)
    (batch,) = batches
    assert batch["x"].tolist() == [[1, 2], [3, 4]]
    assert batch["x"].dtype == np.float32
    assert labels_of(batches) == labels


@pytest.mark.parametrize("column", ["kind", "2"])
def test_the_column_of_labels_is_named_or_numbered(tmp_path: Path, column: str) -> None:
    batches = opened(tmp_path, "a,b,kind\n1,2,5\n3,4,6\n", label_column=column)
    assert labels_of(batches) == [5, 6]
    assert next(iter(batches))["x"].tolist() == [[1, 2], [3, 4]]


def test_labels_may_be_names(tmp_path: Path) -> None:
    text = "a,b,kind\n1,2,no\n3,4,yes\n"
    assert labels_of(opened(tmp_path, text, label_column="kind", n_classes=2)) == [0, 1]
    with pytest.raises(
        DataError, match=r"the labels are 2 names such as 'no', and the model has 9"
    ):
        opened(tmp_path, text, label_column="kind", n_classes=9)
    (tmp_path / "c.txt").write_text("yes\nmaybe\nno\n")
    classes = str(tmp_path / "c.txt")
    assert labels_of(opened(tmp_path, text, label_column="kind", classes=classes)) == [2, 0]
    (tmp_path / "c.txt").write_text("yes\nmaybe\n")
    with pytest.raises(DataError, match=r"label 'no' is no class of .*c.txt"):
        opened(tmp_path, text, label_column="kind", classes=classes)


def test_columns_go_to_the_inputs_of_their_names(tmp_path: Path) -> None:
    inputs = spec(("N", 1), "age"), spec(("N", 1), "code", "int64")
    (batch,) = opened(tmp_path, "code,age\n1,2.5\n3,4.5\n", *inputs)
    assert batch["age"].tolist() == [[2.5], [4.5]]
    assert batch["code"].tolist() == [[1], [3]]
    with pytest.raises(
        DataError, match=r"t.csv has no column 'age'; the model takes 'age', 'code'"
    ):
        opened(tmp_path, "code,years\n1,2\n", *inputs)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a,b\n1,2\n3\n", r"row 2 of .*t.csv has 1 cells, and 2 are in the first"),
        ("a,b\n1,2\n3,x\n", r"row 2 of .*t.csv holds 'x', which is no number; .*--label-column"),
        ("a,b\n1,\n", "holds '', which is no number"),
        ("a,b\n", "holds no rows; give at least one"),
        ("", "holds no rows"),
        ("1,nan\n", "holds NaN or infinity"),
        ("1,2,3\n", r"3 columns \(0, 1, 2\), and input 'x' takes 2; .*name it with --label-column"),
    ],
)
def test_tables_that_cannot_be_read_are_refused(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        opened(tmp_path, text)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"label_column is 'c', which .*its columns are a, b"):
        opened(tmp_path, "a,b\n1,2\n", label_column="c")


def test_tables_of_a_folder_have_the_same_columns(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    assert opened(tmp_path, "a,b\n3,4\n").n_samples == 1
    both = open_data(tmp_path, [spec()], samples=None, batch_size=8)
    assert both.n_samples == 2
    (tmp_path / "1.csv").write_text("b,a\n1,2\n")
    with pytest.raises(DataError, match="has other columns than"):
        open_data(tmp_path, [spec()], samples=None, batch_size=8)
