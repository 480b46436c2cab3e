"""Texts become tokens: what each input is filled with, lengths, padding, errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_lobs.data.batches import Batches
from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.data.reader import open_data
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.options.samples import SampleOptions

VOCABULARY = {"[PAD]": 5, "[UNK]": 1, "a": 2, "b": 3, "c": 4}
TOKENIZER = {
    "version": "1.0",
    "added_tokens": [],
    "pre_tokenizer": {"type": "Whitespace"},
    "model": {"type": "WordLevel", "vocab": VOCABULARY, "unk_token": "[UNK]"},
}


def spec(name: str, shape: Any = ("N", "L"), dtype: str = "int64") -> InputSpec:
    return InputSpec(name, np.dtype(dtype), shape)


IDS = spec("input_ids")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    (tmp_path / "1.txt").write_text("a b c\n\nb x\n", encoding="utf-8")
    return tmp_path


def opened(source: Any, *inputs: InputSpec, **options: Any) -> Batches:
    given = SampleOptions(**options)
    return open_data(source, inputs or [IDS], samples=None, batch_size=8, options=given)


def test_each_line_is_a_text_and_fills_inputs_by_their_names(texts: Path) -> None:
    inputs = (
        IDS,
        spec("attention_mask", dtype="float32"),
        spec("token_type_ids", dtype="int32"),
        spec("position_ids"),
    )
    (batch,) = opened(texts / "1.txt", *inputs)
    assert batch["input_ids"].tolist() == [[2, 3, 4], [3, 1, 5]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["attention_mask"].dtype == np.float32
    assert batch["token_type_ids"].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert batch["position_ids"].tolist() == [[0, 1, 2], [0, 1, 0]]


def test_a_single_input_of_any_name_takes_ids(texts: Path) -> None:
    (batch,) = opened(texts, spec("x"))
    assert batch["x"].tolist() == [[2, 3, 4], [3, 1, 5]]


@pytest.mark.parametrize(
    ("length", "options", "expected"),
    [
        (4, {}, [[2, 3, 4, 5], [3, 1, 5, 5]]),
        (2, {}, [[2, 3], [3, 1]]),
        ("L", {"max_length": 2}, [[2, 3], [3, 1]]),
        (3, {"max_length": 1}, [[2, 5, 5], [3, 5, 5]]),
    ],
)
def test_lengths(texts: Path, length: Any, options: dict[str, Any], expected: Any) -> None:
    (batch,) = opened(texts, spec("input_ids", ("N", length)), **options)
    assert batch["input_ids"].tolist() == expected


def test_more_than_the_model_takes_cannot_be_asked_for(texts: Path) -> None:
    with pytest.raises(ConfigError, match="max_length is 9, but the model takes 4 tokens"):
        opened(texts, spec("input_ids", ("N", 4)), max_length=9)


def test_each_batch_is_filled_up_to_its_longest(texts: Path) -> None:
    batches = open_data(texts, [IDS], samples=None, batch_size=1)
    assert [batch["input_ids"].shape for batch in batches] == [(1, 3), (1, 2)]
    assert [b["input_ids"].tolist() for b in batches] == [b["input_ids"].tolist() for b in batches]


def test_inputs_that_texts_do_not_fill_are_named(texts: Path) -> None:
    with pytest.raises(DataError, match=r"input 'pixels' .* is not filled from texts"):
        opened(texts, IDS, spec("pixels", ("N", 3, 4, 4), "float32"))
    with pytest.raises(DataError, match=r"input 'hidden' .* is not filled from texts"):
        opened(texts, IDS, spec("hidden", ("N", 8), "float32"))


def test_a_tokenizer_is_asked_for_and_looked_at(texts: Path) -> None:
    other = texts / "other.json"
    (texts / "tokenizer.json").rename(other)
    assert opened(texts, tokenizer=str(other)).n_samples == 2
    with pytest.raises(ConfigError, match=r"none at .*tokenizer.json'; give .* --tokenizer"):
        opened(texts)
    of_no_kind = json.dumps({**TOKENIZER, "pre_tokenizer": {"type": "None of them"}})
    for content in ("{", "[]", '{"model": {}}', '{"model": {"vocab": {}}}', of_no_kind):
        other.write_text(content)
        with pytest.raises(ConfigError, match=r"other.json' is no tokenizer.json"):
            opened(texts, tokenizer=str(other))


def test_files_without_text_or_in_another_encoding_are_refused(texts: Path) -> None:
    (texts / "1.txt").write_text("\n \n")
    with pytest.raises(DataError, match="holds no text; write one a line"):
        opened(texts)
    (texts / "1.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"1.txt cannot be read .*save it as UTF-8"):
        opened(texts)


def test_without_the_library_the_command_that_installs_it_is_named(
    texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match=r"pip install 'onnx-lobs\[text\]'"):
        opened(texts)
